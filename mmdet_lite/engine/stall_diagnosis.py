"""Who keeps a run of several processes from going on, in words."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from mmdet_lite.engine.status_board import Status

_MAIN_PHASE = "metrics of the main process"
_MOST_LISTED = 10

# Where to look if a process does not go on, by the phase that it is in.
_ADVICE = {
    "start": "stalled before its first batch: look at its log, and at hooks' before_train",
    "loading a batch": "stalled while loading a batch: look at its storage, its loader workers and "
    "its log",
    "forward": "stalled in the forward pass: look at its device (nvidia-smi, dmesg) and its log",
    "backward": "stalled in the backward pass: look at its device (nvidia-smi, dmesg), its log and "
    "the network to it",
    "exchanging losses": "stalled while it exchanged losses: look at its log and the network to it",
    "update": "stalled in the update of the weights: look at its device (nvidia-smi, dmesg) and "
    "its log",
    "logging": "stalled while writing the log: look at the file system of the work dir",
    "saving": "stalled while saving: look at the file system of the work dir",
    "validation": "stalled in the validation: look at its storage, its loader workers, its device "
    "and its log",
    "gathering detections": "stalled while gathering the detections: look at its memory, its log "
    "and the network to it",
    _MAIN_PHASE: "stalled while computing the metrics: look at its log and the load of its node",
}
_TOGETHER = (
    "All ranks are at the same place: the network between them, or the device of one of them, "
    "does not answer. Look at the network interfaces (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME, "
    "NCCL_DEBUG=INFO) and at each node's nvidia-smi and dmesg."
)
_SILENT = (
    "no sign of life: its process hangs, was stopped or has ended, or its node or the network to "
    "it is gone. Look at that node and at the rank's log."
)
_WAY_OUT = "Resume with --resume; if nothing is wrong but slow, raise distributed.timeout."


def find_silent(earlier: Sequence[Status | None], later: Sequence[Status | None]) -> set[int]:
    """The ranks that published nothing between two looks, more than a heartbeat apart."""
    pairs = enumerate(zip(earlier, later, strict=True))
    return {rank for rank, (before, now) in pairs if now is None or before == now}


def find_behind(statuses: Sequence[Status]) -> set[int]:
    """The ranks that all others wait for, by their statuses in the order of ranks.

    None if all are at the same place, unless that is where all wait for the main process.
    """
    places = [(status.iteration, status.turn) for status in statuses]
    first = min(places)
    behind = {rank for rank, place in enumerate(places) if place == first}
    if len(behind) < len(places):
        return behind
    return {0} if statuses[0].phase == _MAIN_PHASE else set()


def diagnose(statuses: Sequence[Status | None], silent: Collection[int]) -> str:
    """Say which ranks keep the others waiting, in which phase, and what to look at.

    Args:
        statuses: in the order of ranks; None for a rank that never published one.
        silent: the ranks that publish nothing any more; they are blamed before all others.
    """
    blamed = sorted(silent or find_behind(statuses))
    others = [rank for rank in range(len(statuses)) if rank not in blamed]
    lines = _list("silent" if silent else "behind", blamed, statuses)
    lines += _list("waiting", others, statuses)
    return "\n".join([*lines, f"{_conclude(blamed, statuses, silent)} {_WAY_OUT}"])


def diagnose_unreachable(address: tuple[str, int], reason: str) -> str:
    """Say what it means that nobody's status can be read.

    Args:
        address: host and port of the rendezvous store, which the main process serves.
        reason: why it cannot be read.
    """
    return (
        f"  Rank 0, which serves the rendezvous store at {address[0]}:{address[1]}, does not "
        f"answer ({reason}): its process hangs, was stopped or has ended, or its node or the "
        "network to it is gone. Look at that node and at its log. "
        f"What the other ranks do is not known here; look at their logs. {_WAY_OUT}"
    )


def describe(status: Status) -> str:
    """Where a process is, as "'forward' of iteration 17"."""
    return f"{status.phase!r} of iteration {status.iteration}"


def _list(label: str, ranks: Sequence[int], statuses: Sequence[Status | None]) -> list[str]:
    lines = [f"  {label}: {_line(rank, statuses[rank])}" for rank in ranks[:_MOST_LISTED]]
    more = len(ranks) - _MOST_LISTED
    return lines + ([f"  {label}: {more} more"] if more > 0 else [])


def _line(rank: int, status: Status | None) -> str:
    if status is None:
        return f"rank {rank}: it never said what it does"
    clock = time.strftime("%H:%M:%S", time.localtime(status.published))
    return (
        f"rank {rank} (host {status.host}, pid {status.pid}): {describe(status)} for "
        f"{status.seconds:.0f} s, as of {clock}"
    )


def _conclude(
    blamed: Sequence[int], statuses: Sequence[Status | None], silent: Collection[int]
) -> str:
    if not blamed:
        return _TOGETHER
    names = ", ".join(map(str, blamed[:_MOST_LISTED]))
    if len(blamed) > _MOST_LISTED:
        names += f" and {len(blamed) - _MOST_LISTED} more"
    subject = f"Rank {names}" if len(blamed) == 1 else f"Each of ranks {names}"
    if silent:
        return f"{subject} gives {_SILENT}"
    return f"{subject} {_ADVICE[statuses[blamed[0]].phase]}."
