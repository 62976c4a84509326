"""Run with: pytest tests/engine/test_status_board.py"""

from __future__ import annotations

import socket

import pytest
import torch.distributed as dist

from mmdet_lite.engine.status_board import Status, StatusBoard

STATUS = Status("node", 12, 1.5e9, "forward", iteration=3, turn=1, seconds=0.25)


@pytest.fixture(scope="module")
def server():
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture
def store(server):
    for rank in range(3):
        server.delete_key(f"mmdet_lite/status/{rank}")
    return server


def test_every_rank_reads_what_the_others_published(store):
    address = ("127.0.0.1", store.port)
    boards = [StatusBoard(address, rank, world_size=3) for rank in range(3)]
    boards[0].publish(STATUS)
    assert boards[1].read_twice(0) == ([STATUS, None, None], [STATUS, None, None])
    later = Status("other", 7, 2e9, "saving", iteration=4, turn=0, seconds=1.0)
    for board in boards[1:]:
        board.publish(later)
    assert boards[2].read_twice(0)[1] == [STATUS, later, later]


def test_of_a_rank_the_latest_status_counts_over_one_connection(store):
    board = StatusBoard(("127.0.0.1", store.port), 0, world_size=1)
    board.publish(Status("node", 12, 1.0, "start", 0, 0, 0.0))
    connection = board._store
    board.publish(STATUS)
    assert board._store is connection
    assert board.read_twice(0)[0] == [STATUS]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"host": "node"}',
        STATUS.to_json().replace("forward", "sleeping").encode(),
        STATUS.to_json().replace("0.25", "NaN").encode(),
        STATUS.to_json().replace("0.25", '"long"').encode(),
        STATUS.to_json().replace("12", "1" * 400).encode(),
    ],
)
def test_what_is_no_status_reads_as_none(store, text):
    store.set("mmdet_lite/status/0", text)
    board = StatusBoard(("127.0.0.1", store.port), 0, world_size=1)
    board._store = store
    assert board.read_twice(0) == ([None], [None])


def test_a_refused_connection_is_an_error_without_noise(capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        board = StatusBoard(free.getsockname(), 0, world_size=2)
    with pytest.raises(ConnectionRefusedError):
        board.publish(STATUS)
    with pytest.raises(ConnectionRefusedError):
        board.read_twice(0)
    assert capfd.readouterr().err == ""


def test_after_an_error_it_connects_anew(store):
    class Broken:
        def set(self, key, value):
            raise dist.DistNetworkError("Broken pipe")

    board = StatusBoard(("127.0.0.1", store.port), 0, world_size=1)
    board._store = Broken()
    with pytest.raises(RuntimeError, match="Broken pipe"):
        board.publish(STATUS)
    board.publish(STATUS)
    assert board.read_twice(0)[0] == [STATUS]
