import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_lite.data.segmentations import PackedSegmentations, segmentation_fault
from mmdet_lite.structures.masks import InstanceMasks

TRIANGLE = [0.5, 0.25, 6, 0, 0, 3.75]
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
UNCOMPRESSED = {"size": [5, 8], "counts": [5, 10, 25]}  # columns 1 and 2 of eight
COMPRESSED = {
    "size": [5, 8],
    "counts": coco_mask.frPyObjects(UNCOMPRESSED, 5, 8)["counts"].decode(),
}


def test_packed_segmentations_come_back():
    packed = PackedSegmentations(
        [[TRIANGLE, SQUARE], UNCOMPRESSED, [SQUARE], COMPRESSED], np.array([[5, 8]] * 4)
    )
    assert len(packed) == 4
    assert packed.to_coco(0) == [TRIANGLE, SQUARE]
    assert packed.to_coco(1) == packed.to_coco(3) == COMPRESSED
    assert packed.to_coco(2) == [SQUARE]


def test_packed_masks_rasterise_as_pycocotools_does():
    packed = PackedSegmentations([[SQUARE], UNCOMPRESSED], np.array([[5, 8]] * 2))
    bitmaps = InstanceMasks([packed[0], packed[1]], (5, 8)).bitmaps()
    assert (
        bitmaps[0].tolist()
        == coco_mask.decode(coco_mask.frPyObjects([SQUARE], 5, 8))[..., 0].tolist()
    )
    assert bitmaps[1].tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]] * 5


def test_no_segmentations_can_be_packed():
    assert len(PackedSegmentations([], np.zeros((0, 2), dtype=np.int64))) == 0


@pytest.mark.parametrize("value", [[TRIANGLE], [TRIANGLE, SQUARE], UNCOMPRESSED, COMPRESSED])
def test_sound_segmentations_have_no_fault(value):
    assert segmentation_fault(value, (5, 8)) is None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("polygon", "a str, expected a list of polygons or an RLE dict"),
        ([1, 2, 3, 4, 5, 6], "holds 1, expected polygons"),
        ([[1, 2, 3, 4]], "a polygon of 4 numbers, expected 6, 8, 10, ..."),
        ([SQUARE, [1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "NaN or infinite"),
        ([["1", "2", "3", "4", "5", "6"]], "other things than numbers"),
        ({"size": [8, 5], "counts": [40]}, r"an RLE of size [8, 5], expected the image's"),
        ({"size": [5, 8], "counts": [10, 29]}, "counts sum to 39, expected 40 pixels"),
        ({"size": [5, 8], "counts": [10, -1, 31]}, "expected integers or a string"),
        ({"size": [5, 8], "counts": ""}, "whose counts are str"),
    ],
)
def test_faults_are_named(value, fault):
    assert fault in segmentation_fault(value, (5, 8))
