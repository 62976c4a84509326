"""Polygons that meet themselves, beside a check of all pairs of edges one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.doctor import crossings
from mmdet_lite.doctor.crossings import CROSSES, SIMPLE, TOUCHES, self_contacts

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
