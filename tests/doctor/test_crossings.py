"""Polygons that meet themselves, beside a check of all pairs of edges one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.data.formats.files import joined_polygons
from mmdet_lite.doctor import crossings
from mmdet_lite.doctor.crossings import CROSSES, SIMPLE, TOUCHES, self_contacts, without_joins

SHAPES = {
    "square": ([[0, 0], [4, 0], [4, 4], [0, 4]], SIMPLE),
    "closed by its first point": ([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], SIMPLE),
    "a point twice in a row": ([[0, 0], [4, 0], [4, 0], [4, 4], [0, 4]], SIMPLE),
    "concave": ([[0, 0], [9, 0], [9, 9], [5, 1], [1, 9]], SIMPLE),
    "bow": ([[0, 0], [4, 4], [4, 0], [0, 4]], CROSSES),
    "pinched": ([[0, 0], [2, 2], [4, 0], [4, 4], [2, 2], [0, 4]], TOUCHES),
    "point on an edge": ([[0, 0], [8, 0], [8, 8], [4, 0], [0, 8]], TOUCHES),
    "triangle": ([[0, 0], [4, 0], [4, 4]], SIMPLE),
    "one point": ([[1, 1], [1, 1], [1, 1]], SIMPLE),
}


@pytest.mark.parametrize("pairs", [1, 20, 1 << 22])
def test_shapes(pairs, monkeypatch):
    monkeypatch.setattr(crossings, "_PAIRS", pairs)
    polygons = [np.array(points, float) for points, _ in SHAPES.values()]
    offsets = np.cumsum([0, *map(len, polygons)])
    found = self_contacts(np.concatenate(polygons), offsets).tolist()
    assert dict(zip(SHAPES, found, strict=True)) == {k: v for k, (_, v) in SHAPES.items()}


def test_random_polygons_cross_where_two_edges_do():
    rng = np.random.default_rng(0)
    polygons = [rng.random((m, 2)) for m in rng.integers(4, 7, 200)]
    offsets = np.cumsum([0, *map(len, polygons)])
    found = self_contacts(np.concatenate(polygons), offsets) == CROSSES
    assert found.tolist() == [any_edges_cross(points) for points in polygons]
    assert 20 < found.sum() < 180


def any_edges_cross(points: np.ndarray) -> bool:
    m = len(points)
    edges = [(points[i], points[(i + 1) % m]) for i in range(m)]
    return any(
        cross(*edges[i], *edges[j])
        for i in range(m)
        for j in range(i + 2, m)
        if (i, j) != (0, m - 1)
    )


def cross(p, q, r, s) -> bool:
    """Solve for the point that both lines have."""
    along, t = np.stack([q - p, r - s], axis=1), None
    t = np.linalg.solve(along, r - p)
    return bool((t > 0).all() and (t < 1).all())


PARTS = [[0, 0, 9, 0, 9, 9, 0, 9], [20, 0, 29, 0, 29, 9], [5, 20, 9, 29, 1, 29]]


def loops_of(points: list[float]) -> list[list[float]]:
    return [loop.reshape(-1).tolist() for loop in without_joins(np.reshape(points, (-1, 2)))]


@pytest.mark.parametrize("shift", range(0, 30, 2))
def test_polygons_that_were_joined_come_apart_wherever_the_path_begins(shift):
    joined = joined_polygons(PARTS)
    loops = loops_of(joined[shift:] + joined[:shift])
    assert len(loops) == 3
    found = sorted(sorted(zip(loop[::2], loop[1::2], strict=True)) for loop in loops)
    points = [list(zip(part[::2], part[1::2], strict=True)) for part in PARTS]
    assert [sorted(set(loop)) for loop in found] == sorted(map(sorted, points))


def test_polygons_that_were_not_joined_stay():
    for points, _ in SHAPES.values():
        flat = np.reshape(points, -1).tolist()
        assert loops_of(flat) == [flat]


def test_what_crosses_in_a_part_is_still_found():
    bow = [20, 0, 29, 9, 29, 0, 20, 9]
    loops = without_joins(np.reshape(joined_polygons([PARTS[0], bow]), (-1, 2)))
    offsets = np.cumsum([0, *map(len, loops)])
    assert sorted(self_contacts(np.concatenate(loops), offsets).tolist()) == [SIMPLE, CROSSES]
