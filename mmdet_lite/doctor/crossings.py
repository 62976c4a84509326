"""Polygons that cross or touch themselves, many at a time.

Polygons of equally many points are one array, so that all pairs of their edges are compared at
once. Letters: p polygons, g polygons of m points each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

SIMPLE, TOUCHES, CROSSES = 0, 1, 2

_PAIRS = 1 << 22  # of edges that are compared at once


def self_contacts(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Find out which polygons meet themselves elsewhere than where one edge follows the other.

    Args:
        points: (n, 2) of all polygons.
        offsets: (p + 1,); those of polygon ``i`` are ``offsets[i]:offsets[i + 1]``.

    Returns:
        (p,) SIMPLE, TOUCHES or CROSSES.
    """
    points, lengths, which = _without_repeats(points, offsets)
    starts = np.concatenate([[0], lengths.cumsum()])
    contacts = np.zeros(len(offsets) - 1, np.int64)
    for m in np.unique(lengths[lengths >= 4]).tolist():
        group = np.flatnonzero(lengths == m)
        step = max(1, _PAIRS // m**2)
        for part in (group[i : i + step] for i in range(0, len(group), step)):
            found = _contacts(points[starts[part][:, None] + np.arange(m)])
            contacts[which[part]] = found
    return contacts


def without_joins(points: np.ndarray) -> list[np.ndarray]:
    """The polygons that were joined to one by edges that go there and back.

    Formats with one polygon an object hold its parts and holes so.

    Args:
        points: (n, 2) of the one.

    Returns:
        (m, 2) of each; the polygon itself where no edge is gone both ways.
    """
    _, names = np.unique(points, axis=0, return_inverse=True)
    names = names.reshape(-1).tolist()
    n = len(names)
    back: dict[tuple[int, int], list[int]] = defaultdict(list)
    joins: set[int] = set()
    for i, edge in enumerate(zip(names, names[1:] + names[:1], strict=True)):
        if back[edge[::-1]]:
            joins |= {i, back[edge[::-1]].pop()}
        elif edge[0] != edge[1]:
            back[edge].append(i)
    if not joins:
        return [points]
    cuts = sorted(joins)
    chains = [  # of points between two joins
        [i % n for i in range(cut + 1, after + 1)]
        for cut, after in zip(cuts, [*cuts[1:], cuts[0] + n], strict=True)
    ]
    loops: list[list[int]] = []
    open_chains: list[list[int]] = []
    for chain in chains:
        if open_chains and names[open_chains[-1][-1]] == names[chain[0]]:
            chain = open_chains.pop() + chain[1:]
        is_closed = names[chain[0]] == names[chain[-1]]
        (loops if is_closed else open_chains).append(chain)
    return [points[loop] for loop in loops + open_chains if len(loop) > 3]


def _without_repeats(
    points: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points that are not the one before them again, the last before the first; lengths; rows."""
    lengths = np.diff(offsets)
    which = np.flatnonzero(lengths)
    before = np.arange(len(points)) - 1
    before[offsets[:-1][which]] = offsets[1:][which] - 1
    is_new = (points != points[before]).any(axis=1)
    lengths = np.add.reduceat(is_new.astype(np.int64), offsets[:-1][which])
    return points[is_new], lengths, which


def _contacts(polygons: np.ndarray) -> np.ndarray:
    """(g, m, 2) to (g,)."""
    ends = np.roll(polygons, -1, axis=1)
    contacts = np.zeros(len(polygons), np.int64)
    for row, i, j in _near_pairs(polygons, ends):
        edges = polygons[row, i], ends[row, i], polygons[row, j], ends[row, j]
        crosses, touches = _meet(*edges)
        np.maximum.at(contacts, row, np.where(crosses, CROSSES, np.where(touches, TOUCHES, 0)))
    return contacts


def _near_pairs(
    starts: np.ndarray, ends: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Polygons and pairs of their edges, not neighbours, whose bounding boxes overlap."""
    # Rounding keeps the order of numbers, so that no pair is lost.
    low = np.minimum(starts, ends).astype(np.float32)
    high = np.maximum(starts, ends).astype(np.float32)
    g, m, _ = starts.shape
    step = max(1, _PAIRS // (g * m))
    for first in range(0, m, step):
        rows = np.arange(first, min(first + step, m))
        columns = np.arange(m)
        near = np.broadcast_to(columns > rows[:, None] + 1, (g, len(rows), m)).copy()
        if first == 0:
            near[:, 0, -1] = False
        for axis in (0, 1):
            lows, highs = low[:, :, axis], high[:, :, axis]  # (g, m)
            near &= lows[:, rows, None] <= highs[:, None]
            near &= lows[:, None] <= highs[:, rows, None]
        row, i, j = np.nonzero(near)
        if len(row):
            yield row, i + first, j


def _meet(
    p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether edges pq and rs cross, and whether an end of one lies on the other; (k, 2) each."""
    sides = _side(p, q, r), _side(p, q, s), _side(r, s, p), _side(r, s, q)
    crosses = (sides[0] * sides[1] < 0) & (sides[2] * sides[3] < 0)
    touches = np.zeros(len(p), bool)
    for side, (start, end, point) in zip(
        sides, ((p, q, r), (p, q, s), (r, s, p), (r, s, q)), strict=True
    ):
        is_between = (np.minimum(start, end) <= point) & (point <= np.maximum(start, end))
        touches |= (side == 0) & is_between.all(axis=1)
    return crosses, touches


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """On which side of a line points are: -1, 0, 1."""
    along, to = end - start, point - start
    return np.sign(along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0])
