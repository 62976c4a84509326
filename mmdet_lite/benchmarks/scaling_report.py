"""Times of a benchmark as figures: medians, ratios and shares, and the table that shows them.

A round of a contender is the dict that :func:`mmdet_lite.benchmarks.scaling_worker.measure` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from mmdet_lite.benchmarks.machine import heading

_COLUMNS = (
    "",
    "images/step",
    "threads",
    "s/step (rounds)",
    "images/s",
    "ratio",
    "communication",
    "imbalance",
    "data",
    "gradients",
    "sent",
)


def step_seconds(measured: dict[str, Any]) -> float:
    """A round's seconds a step.

    The median of the computing, and the mean of the waiting for data, which comes in bursts: of
    several loader workers' batches as a rule only the first is waited for.
    """
    return max(
        median(busy for _, busy in steps) + mean(waited for waited, _ in steps)
        for steps in measured["steps"]
    )


def data_share(measured: dict[str, Any]) -> float:
    """The share of a round that the process that waited longest spent waiting for data."""
    return max(
        sum(waited for waited, _ in steps) / sum(waited + busy for waited, busy in steps)
        for steps in measured["steps"]
    )


def communication_share(measured: dict[str, Any]) -> float:
    """The share of a round's step that is communication which the backward pass does not hide.

    The time of a batch is that of the process that takes longest: that the others wait for it is
    no communication.
    """
    if len(measured["steps"]) == 1:
        return 0.0
    batches = zip(*measured["pairs"], strict=True)  # for each batch the processes' pairs
    return median(map(_extra_seconds, batches)) / step_seconds(measured)


def imbalance_share(measured: dict[str, Any]) -> float:
    """The share of a round's step that the processes wait, on average, for the slowest one.

    Taken where nothing is communicated.
    """
    if len(measured["steps"]) == 1:
        return 0.0
    batches = zip(*measured["pairs"], strict=True)
    alone = ([without for _, without in pairs] for pairs in batches)
    return median(max(seconds) - mean(seconds) for seconds in alone) / step_seconds(measured)


def describe_rounds(measured: Sequence[Sequence[dict]], batch_size: int) -> list[dict[str, Any]]:
    """The figures of each contender over its rounds.

    Args:
        measured: for each contender its rounds.
        batch_size: images a step, over all processes.

    Returns:
        For each contender ``seconds`` (a step, median of the rounds), ``seconds_range``,
        ``images_per_second``, ``ratio`` (its speed over that of the first contender in the same
        round, median), ``communication``, ``imbalance`` and ``data`` (shares of a step, medians),
        ``threads``, ``gradient_bytes`` (a step) and ``sent_bytes`` (by each process in a ring
        all-reduce).
    """
    first = [step_seconds(m) for m in measured[0]]
    return [_describe(rounds, first, batch_size) for rounds in measured]


def table(result: dict[str, Any]) -> str:
    """What :func:`mmdet_lite.benchmarks.scaling.benchmark` returned, for people."""
    machine, settings = result["machine"], result["settings"]
    method = (
        f"rounds: {settings['rounds']} (figures are their medians), "
        f"steps: {settings['iters']} after {settings['warmup']} of warm-up"
    )
    rows = [_COLUMNS, *(_row(c, settings["batch_size"]) for c in result["contenders"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join([heading(machine), method, *(line.rstrip() for line in lines)])


def _describe(rounds: Sequence[dict], first: Sequence[float], batch_size: int) -> dict[str, Any]:
    seconds = [step_seconds(m) for m in rounds]
    processes, gradient_bytes = len(rounds[0]["steps"]), rounds[0]["gradient_bytes"]
    return {
        "seconds": median(seconds),
        "seconds_range": [min(seconds), max(seconds)],
        "images_per_second": batch_size / median(seconds),
        "ratio": median(a / b for a, b in zip(first, seconds, strict=True)),
        "communication": median(map(communication_share, rounds)),
        "imbalance": median(map(imbalance_share, rounds)),
        "data": median(map(data_share, rounds)),
        "threads": rounds[0]["threads"],
        "gradient_bytes": gradient_bytes,
        "sent_bytes": 2 * (processes - 1) / processes * gradient_bytes,
    }


def _extra_seconds(pairs: Sequence[Sequence[float]]) -> float:
    """What communication adds to one batch."""
    return max(with_it for with_it, _ in pairs) - max(without for _, without in pairs)


def _row(contender: dict[str, Any], batch_size: int) -> tuple[str, ...]:
    fastest, slowest = contender["seconds_range"]
    return (
        contender["name"],
        str(batch_size),
        f"{contender['processes']} x {contender['threads']}",
        f"{contender['seconds']:.3f} ({fastest:.3f}..{slowest:.3f})",
        f"{contender['images_per_second']:.2f}",
        f"{contender['ratio']:.3f}",
        f"{contender['communication']:.1%}",
        f"{contender['imbalance']:.1%}",
        f"{contender['data']:.1%}",
        f"{contender['gradient_bytes'] / 1e6:.1f} MB",
        f"{contender['sent_bytes'] / 1e6:.1f} MB",
    )
