import numpy as np
import pytest
import torch

from mmdet_lite.data.geometry import resize_within
from mmdet_lite.data.letterbox import Letterbox
from mmdet_lite.data.sample import Sample
from mmdet_lite.doctor.training_view import AnchorGrid, Scale, read_anchors, read_scales
from mmdet_lite.models.priors.anchor_generator import AnchorGenerator
from mmdet_lite.structures.boxes import pairwise_iou

SIZES = [(640, 480), (480, 640), (333, 500), (7, 900), (100, 100)]
BOX = np.array([[10.0, 20.0, 60.0, 70.0]], np.float32)


def sample(width: int, height: int) -> Sample:
    nothing = np.zeros(0, np.int64)
    image = np.zeros((height, width, 3), np.uint8)
    return Sample(image, BOX, nothing, nothing, BOX[:0], None, 0, "", 0, (height, width))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keep_ratio", [True, False])
def test_scale_is_what_resize_does(size, keep_ratio):
    resized = resize_within(sample(*size), (300, 200), keep_ratio)
    picture, start, whole = Scale((300, 200), keep_ratio).apply(np.array([size], float))
    assert picture.tolist() == whole.tolist() == [list(resized.size[::-1])]
    assert start.tolist() == [[0, 0]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"enlarge": False}, {"center": False}])
def test_scale_is_what_letterbox_does(size, options):
    placed = Letterbox(size=(320, 256), **options)(sample(*size), np.random.default_rng(0))
    scale = Scale((320, 256), is_letterbox=True, **options)
    picture, start, whole = scale.apply(np.array([size], float))
    box = BOX * np.tile(picture / np.array(size), 2) + np.tile(start, 2)
    np.testing.assert_allclose(box, placed.boxes, rtol=1e-5)
    assert whole.tolist() == [list(placed.size[::-1])]


@pytest.mark.parametrize(
    ("options", "allowed_border"),
    [
        ({"scales": [8.0]}, -1),
        ({"scales": [8.0]}, 0),
        ({"scales": [2.0, 5.0], "center_offset": 0.5}, -1),
        ({"scales": [4.0], "fit_strides": True}, -1),
        ({"octave_base_scale": 4, "scales_per_octave": 2}, 16),
    ],
)
def test_best_overlap_is_that_of_all_anchors(options, allowed_border):
    generator = AnchorGenerator(strides=[8, 32, 64], ratios=[0.5, 1.0, 2.0], **options)
    grid = AnchorGrid(
        tuple(anchors.double().numpy() for anchors in generator.base_anchors),
        generator.strides,
        allowed_border=allowed_border,
        fit_strides=generator.fit_strides,
    )
    width, height, padded = 230, 200, (224, 256)
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (2, 300, 2)), axis=0) * [width, height]
    boxes = np.concatenate(corners, axis=1)
    shapes = [(-(-padded[0] // s), -(-padded[1] // s)) for s in generator.strides]
    priors = generator(shapes, torch.device("cpu"))
    shape, pad_shape = torch.tensor([[height, width]]), torch.tensor([padded])
    valid = priors.valid_flags(shape, pad_shape, allowed_border)[0]
    overlaps = pairwise_iou(torch.from_numpy(boxes), priors.boxes.double())
    expected = torch.where(valid, overlaps, 0.0).amax(dim=1)
    found = grid.best_overlaps(boxes, np.tile([width, height], (len(boxes), 1)).astype(float))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_shapes_match_up_to_a_ratio():
    grid = AnchorGrid((np.array([[0.0, 0, 10, 20]]),), (8,), ratio_thr=4.0)
    boxes = np.array([[5.0, 5, 44, 20], [5, 5, 45, 20], [0, 0, 10, 5], [0, 0, 10, 5.1]])
    assert grid.matches_shape(boxes).tolist() == [True, False, False, True]


def test_scales_are_those_of_the_first_resizing_transform():
    def scales(*pipeline):
        return read_scales({"train_data": {"dataset": {"pipeline": list(pipeline)}}})

    resize = {"type": "Resize", "scale": (1333, 800)}
    choice = {"type": "RandomChoiceResize", "scales": [(9, 8), (7, 6)], "keep_ratio": False}
    flip = {"type": "RandomFlip"}
    assert scales(flip, resize, choice) == [Scale((1333, 800))]
    assert scales(choice) == [Scale((9, 8), False), Scale((7, 6), False)]
    assert scales(flip) == []
    jitter = {"type": "RandomResize", "scale": (100, 50), "ratio_range": (0.1, 2.0)}
    assert [scale.size for scale in scales(jitter)] == [(10, 5), (105, 52), (200, 100)]
    span = {"type": "RandomResize", "scale": [(100, 60), (80, 90)]}
    assert [scale.size for scale in scales(span)] == [(80, 60), (90, 75), (100, 90)]
    box = {"type": "Letterbox", "size": (64, 32), "center": False}
    until = {"type": "UntilEpoch", "transforms": [{"type": "Mosaic"}], "then": [box]}
    assert scales(until) == [Scale((64, 32), is_letterbox=True, center=False)]


def test_scales_are_found_in_a_data_set_of_data_sets():
    inner = {"type": "CocoDataset", "pipeline": [{"type": "Resize", "scale": (10, 5)}]}
    outer = {"type": "ConcatDataset", "datasets": [{"type": "RepeatDataset", "dataset": inner}]}
    assert read_scales({"train_data": {"dataset": outer}}) == [Scale((10, 5))]
    assert read_scales({}) == []


@pytest.mark.parametrize("head", ["rpn_head", "bbox_head"])
def test_anchors_are_those_of_the_head(head):
    generator = {"type": "AnchorGenerator", "scales": [8], "ratios": [1.0], "strides": [4, 8]}
    cfg = {
        "model": {head: {"anchor_generator": generator, "allowed_border": 3}},
        "train_data": {"size_divisor": 16},
    }
    grid = read_anchors(cfg)
    assert [anchors.tolist() for anchors in grid.base_anchors] == [
        [[-16, -16, 16, 16]],
        [[-32, -32, 32, 32]],
    ]
    assert (grid.strides, grid.size_divisor, grid.allowed_border) == ((4, 8), 16, 3)
    assert grid.ratio_thr is None


def test_yolo_anchors_are_matched_by_shape():
    head = {
        "prior_generator": {
            "type": "YOLOAnchorGenerator",
            "strides": [8],
            "base_sizes": [[(10, 20), (30, 30)]],
        },
        "assigner": {"type": "ShapeRatioAssigner", "ratio_thr": 3.0},
    }
    grid = read_anchors({"model": {"bbox_head": head}})
    assert grid.ratio_thr == 3.0
    sizes = grid.base_anchors[0][:, 2:] - grid.base_anchors[0][:, :2]
    assert sizes.tolist() == [[10, 20], [30, 30]]


def test_detectors_without_anchors_have_none():
    assert read_anchors({"model": {"bbox_head": {"type": "YOLOv8Head"}}}) is None
    assert read_anchors({}) is None
