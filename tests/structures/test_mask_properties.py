"""Forms of masks are the same pixels, for random bitmaps, run lengths and polygons."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from mmdet_lite.data.segmentations import PackedSegmentations
from mmdet_lite.structures.masks import InstanceMasks, rasterize_polygons, tight_boxes
from mmdet_lite.structures.rle import draw_rle, read_counts

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def bitmaps(draw) -> np.ndarray:
    """Noise, which has many short runs, or a few blocks, which have long ones."""
    size = draw(sizes)
    if draw(st.booleans()):
        return draw(arrays.arrays(np.uint8, size, elements=st.integers(0, 1)))
    bitmap = np.zeros(size, dtype=np.uint8)
    for _ in range(draw(st.integers(0, 4))):
        (top, bottom), (left, right) = (
            sorted(draw(st.tuples(st.integers(0, edge), st.integers(0, edge)))) for edge in size
        )
        bitmap[top:bottom, left:right] ^= 1
    return bitmap


@st.composite
def run_lengths(draw) -> dict:
    """An uncompressed RLE, also with runs of no length."""
    height, width = draw(sizes)
    cuts = sorted(draw(st.lists(st.integers(0, height * width), max_size=20)))
    counts = np.diff([0, *cuts, height * width]).tolist()
    return {"size": [height, width], "counts": counts}


coordinates = st.floats(-20, 60, allow_nan=False, width=32)
polygons = st.lists(
    st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12).map(
        lambda points: [value for point in points for value in point]
    ),
    min_size=1,
    max_size=3,
)


def pixels_of(rle: dict) -> np.ndarray:
    """The bitmap of run lengths, by COCO's definition."""
    values = np.arange(len(rle["counts"])) % 2
    return np.repeat(values, rle["counts"]).reshape(rle["size"][::-1]).T


def encode(bitmap: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(bitmap))


@given(bitmaps())
def test_a_bitmap_comes_back_from_its_rle(bitmap):
    rle, drawn = encode(bitmap), np.zeros_like(bitmap)
    draw_rle(rle, drawn)
    np.testing.assert_array_equal(drawn, bitmap)
    np.testing.assert_array_equal(coco_mask.decode(rle), bitmap)
    assert read_counts(rle["counts"]).sum() == bitmap.size


@given(run_lengths())
def test_run_lengths_are_read_in_either_form(rle):
    height, width = rle["size"]
    compressed = coco_mask.frPyObjects(rle, height, width)
    assert read_counts(compressed["counts"]).tolist() == rle["counts"]
    text = {"size": rle["size"], "counts": compressed["counts"].decode()}
    masks = InstanceMasks.from_coco([rle, text], (height, width))
    for bitmap in masks.bitmaps():
        np.testing.assert_array_equal(bitmap, pixels_of(rle))


@given(polygons, sizes)
def test_polygons_have_the_pixels_of_their_rle(polygon, size):
    """Also where they cross themselves, lie outside or are as thin as a line."""
    own = InstanceMasks.from_coco([polygon], size).bitmaps()[0]
    rle = coco_mask.merge(coco_mask.frPyObjects(polygon, *size))
    np.testing.assert_array_equal(own, coco_mask.decode(rle))
    assert set(np.unique(own)) <= {0, 1}
    points = [np.reshape(part, (-1, 2)) for part in polygon]
    np.testing.assert_array_equal(own, rasterize_polygons(points, size))


@given(polygons, sizes)
def test_masks_of_polygons_lie_in_the_box_of_the_points(polygon, size):
    bitmap = InstanceMasks.from_coco([polygon], size).bitmaps()
    points = np.concatenate([np.reshape(part, (-1, 2)) for part in polygon])
    if bitmap.any():
        found = tight_boxes(bitmap)[0]
        assert (found[:2] >= points.min(axis=0) - 1).all()
        assert (found[2:] <= points.max(axis=0) + 1).all()


@given(bitmaps())
def test_a_bitmap_comes_back_from_the_edges_of_its_pixels(bitmap):
    """Each pixel as a square polygon; what is drawn of all of them is the bitmap."""
    squares = [
        np.array([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]], dtype=np.float64)
        for y, x in np.argwhere(bitmap)[:60]
    ]
    expected = np.zeros_like(bitmap)
    expected[tuple(np.argwhere(bitmap)[:60].T)] = 1
    np.testing.assert_array_equal(rasterize_polygons(squares, bitmap.shape), expected)


@given(st.lists(st.tuples(st.sampled_from(["rle", "text", "polygon"]), st.data()), max_size=4))
def test_packed_segmentations_come_back(kinds):
    values, shapes = [], []
    for kind, data in kinds:
        value = data.draw(polygons if kind == "polygon" else run_lengths())
        size = data.draw(sizes) if kind == "polygon" else tuple(value["size"])
        if kind == "text":
            value = coco_mask.frPyObjects(value, *size)
            value = {"size": list(size), "counts": value["counts"].decode()}
        values.append(value)
        shapes.append(size)
    packed = PackedSegmentations(values, np.array(shapes, dtype=np.int64).reshape(-1, 2))
    assert len(packed) == len(values)
    for row, (value, size) in enumerate(zip(values, shapes, strict=True)):
        again = packed.to_coco(row)
        for shape in (packed[row], InstanceMasks.from_coco([again], size).shapes[0]):
            np.testing.assert_array_equal(
                InstanceMasks([shape], size).bitmaps(),
                InstanceMasks.from_coco([value], size).bitmaps(),
            )


@given(bitmaps(), st.sampled_from(["horizontal", "vertical"]), st.data())
def test_operations_on_bitmaps_are_those_on_arrays(bitmap, direction, data):
    height, width = bitmap.shape
    masks = InstanceMasks([bitmap, encode(bitmap)], bitmap.shape)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, below = data.draw(st.integers(x + 1, width)), data.draw(st.integers(y + 1, height))
    left, above = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    axis = {"horizontal": 1, "vertical": 0}[direction]
    larger = np.zeros((height + above + 3, width + left + 2), dtype=np.uint8)
    larger[above : above + height, left : left + width] = bitmap
    for moved, expected in (
        (masks.flip(direction), np.flip(bitmap, axis)),
        (masks.crop(x, y, right - x, below - y), bitmap[y:below, x:right]),
        (masks.place(left, above, larger.shape), larger),
        (masks.resize((2 * height, 3 * width)), bitmap.repeat(2, axis=0).repeat(3, axis=1)),
        (masks.resize((2 * height, 2 * width)).resize(bitmap.shape), bitmap),
    ):
        for found in moved.bitmaps():
            np.testing.assert_array_equal(found, expected)
