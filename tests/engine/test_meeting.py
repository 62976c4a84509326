"""Run with: pytest tests/engine/test_meeting.py"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from mmdet_lite.engine.launch import Launch
from mmdet_lite.engine.meeting import meet

LIMIT = timedelta(seconds=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def meet_all(port: int, world_size: int) -> list[dist.TCPStore]:
    launches = [Launch(rank, rank, world_size, "127.0.0.1", port) for rank in range(world_size)]
    with ThreadPoolExecutor(world_size) as threads:
        return list(threads.map(lambda launch: meet(launch, LIMIT), launches))


def test_without_torchrun_the_main_process_serves_the_store(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    port = free_port()
    stores = meet_all(port, 2)
    stores[0].set("key", "value")
    assert stores[1].get("key") == b"value"
    assert {store.port for store in stores} == {port}


@pytest.mark.parametrize("world_size", [1, 3])
def test_every_start_has_a_store_of_its_own(monkeypatch, world_size):
    """Also when torchrun's still tells where the processes of the start before met."""
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    torchruns = dist.TCPStore("127.0.0.1", 0, None, True, LIMIT, wait_for_workers=False)
    first = meet_all(torchruns.port, world_size)
    first[0].set("address", "of a process that is dead")
    port = first[0].port
    del first  # its server ends, as that of a killed process does

    second = meet_all(torchruns.port, world_size)
    assert {store.port for store in second} == {second[0].port} != {port}
    assert not second[-1].check(["address"])
    second[0].set("address", "of a living one")
    assert second[-1].get("address") == b"of a living one"
