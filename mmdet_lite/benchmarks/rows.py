"""Rows of figures: ours, a peer's, their ratio; and contenders that take turns.

A machine's speed differs from minute to minute by more than what is measured. So contenders
alternate, and a ratio is the median of the ratios of turns that followed each other.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import torch

Run = Callable[[], Any]

_RESAMPLES = 2000


@dataclass
class Row:
    """One comparison.

    Attributes:
        case: what was measured.
        ours, peer: medians in ``unit``, or counts; None where there is no peer.
        peer_name: what ours is compared with.
        ratio: ours over the peer's; of times the median of paired ratios; None without a peer.
        unit: of ``ours`` and ``peer``.
        ratio_range: the interval in which the ratio lies with 95 % confidence; None of counts.
        settings: what the case was run with.
    """

    case: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    unit: str
    ratio_range: tuple[float, float] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def as_dict(self, machine: dict[str, Any], command: str) -> dict[str, Any]:
        """For a JSON file."""
        return {**asdict(self), "machine": machine, "command": command}


def take_turns(
    contenders: Mapping[str, Run],
    rounds: int,
    warmup: int = 1,
    device: torch.device | str = "cpu",
) -> dict[str, list[float]]:
    """Time functions, one after the other in every round, each first in half of the rounds.

    Args:
        contenders: what to time, by name.
        rounds: turns of each.
        warmup: turns of each before these.
        device: is waited for before the clock is read.

    Returns:
        Seconds of each turn, by name.
    """
    is_gpu = torch.device(device).type == "cuda"

    def now() -> float:
        if is_gpu:
            torch.cuda.synchronize()
        return perf_counter()

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warmup, rounds):
        names = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in names:
            gc.collect()  # what others left behind is not this one's work
            started = now()
            contenders[name]()
            if number >= 0:
                seconds[name].append(now() - started)
    return seconds


def time_row(
    case: str,
    ours: Sequence[float],
    peer: Sequence[float] | None,
    peer_name: str,
    settings: dict[str, Any] | None = None,
    unit: str = "s",
) -> Row:
    """A row of times, in seconds each, of rounds that belong together in pairs.

    Args:
        case: what was measured.
        ours, peer: seconds of each round; None where there is no peer.
        peer_name: whose the latter are.
        settings: what the case was run with.
        unit: 's' or 'ms', what the row shows.
    """
    factor = {"s": 1.0, "ms": 1e3}[unit]
    if peer is None:
        return Row(case, median(ours) * factor, None, peer_name, None, unit, None, settings or {})
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    return Row(
        case,
        median(ours) * factor,
        median(peer) * factor,
        peer_name,
        median(ratios),
        unit,
        median_range(ratios),
        settings or {},
    )


def rate_row(
    case: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    amount: int,
    unit: str,
    settings: dict[str, Any] | None = None,
) -> Row:
    """A row of what gets done in a second: a ratio above 1 is in favour of ours.

    Args:
        case: what was measured.
        ours, peer: seconds of each round.
        peer_name: whose the latter are.
        amount: what is done in a round, in ``unit`` times a second.
        unit: of the figures, such as 'images/s'.
        settings: what the case was run with.
    """
    ratios = [b / a for a, b in zip(ours, peer, strict=True)]
    figures = amount / median(ours), amount / median(peer)
    return Row(
        case, *figures, peer_name, median(ratios), unit, median_range(ratios), settings or {}
    )


def count_row(
    case: str,
    ours: float,
    peer: float,
    peer_name: str,
    unit: str,
    settings: dict[str, Any] | None = None,
) -> Row:
    """A row of figures that do not vary."""
    ratio = ours / peer if peer else float("nan" if not ours else "inf")
    return Row(case, ours, peer, peer_name, ratio, unit, settings=settings or {})


def median_range(values: Sequence[float]) -> tuple[float, float]:
    """Where the median lies with 95 % confidence: percentile bootstrap with a fixed seed."""
    values = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(values), (_RESAMPLES, len(values)), generator=generator)
    # quantile, not median: torch's median of an even number is the lower of the two
    medians = values[picks].quantile(0.5, dim=1)
    low, high = medians.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def table(rows: Sequence[Row]) -> str:
    """Rows for people."""
    cells = [("", "ours", "peer", "", "ratio", "(95 %)", "peer is")]
    for row in rows:
        span = "" if row.ratio_range is None else "({:.3f}..{:.3f})".format(*row.ratio_range)
        figures = _figure(row.ours), _figure(row.peer)
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        cells.append((row.case, *figures, row.unit, ratio, span, row.peer_name))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        name, ours, peer, *rest = (c.ljust(w) for c, w in zip(line, widths, strict=True))
        right = ours.strip().rjust(widths[1]), peer.strip().rjust(widths[2])
        lines.append("  ".join([name, *right, *rest]).rstrip())
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.3f}" if value < 100 else f"{value:.1f}"
