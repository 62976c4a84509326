import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.data.segmentations import PackedSegmentations
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


def test_selected_segmentations_are_the_others_as_they_were():
    values = [[TRIANGLE, SQUARE], UNCOMPRESSED, [], [SQUARE], COMPRESSED]
    packed = PackedSegmentations(values, np.array([[5, 8]] * 5))
    chosen = packed.select(np.array([True, False, False, True, True]))
    assert [chosen.to_coco(i) for i in range(3)] == [[TRIANGLE, SQUARE], [SQUARE], COMPRESSED]
    assert chosen.rle_rows().tolist() == [2]
    assert packed.select(np.ones(5, bool)) is packed


def test_coordinates_are_of_their_annotations():
    packed = PackedSegmentations(
        [[TRIANGLE, SQUARE], UNCOMPRESSED, [SQUARE]], np.array([[5, 8]] * 3)
    )
    assert packed.rows_of_coordinates(packed.coordinates == 0.25) == [0]
    assert packed.rows_of_coordinates(packed.coordinates == 1) == [0, 2]


def test_extents_are_those_of_polygons_and_run_lengths():
    packed = PackedSegmentations([[TRIANGLE, SQUARE], [], COMPRESSED], np.array([[5, 8]] * 3))
    np.testing.assert_equal(packed.extents(), [[0, 0, 6, 4], [np.nan] * 4, [1, 0, 3, 5]])
