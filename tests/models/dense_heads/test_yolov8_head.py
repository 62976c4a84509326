"""YOLOv8's head: sizes, order of the output, and what the reference numbers do not show."""

from __future__ import annotations

import math

import pytest
import torch
from reference import make_batch, make_gt
from torch.utils.flop_counter import FlopCounterMode

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.models.assigners import MaxIoUAssigner, TaskAlignedAssigner
from mmdet_lite.models.dense_heads import YOLOv8Head, YOLOv8Output
from mmdet_lite.models.losses import CIoULoss, DistributionFocalLoss, SigmoidCrossEntropyLoss

SIZE = (32, 48)
BOXES = torch.tensor([[2.0, 3, 20, 19], [20, 5, 44, 30]])
K = 3
SPECIAL = {
    "no objects": BOXES[:0],
    "no point inside": torch.tensor([[5.0, 5, 7, 7]]),
    "twice the same": BOXES[:1].repeat(2, 1),
    "larger than the image": torch.tensor([[-40.0, -40, 200, 200]]),
    "without area": torch.tensor([[5.0, 5, 5, 5]]),
}


def _head(assigner=None, **settings) -> YOLOv8Head:
    torch.manual_seed(0)
    arguments = dict(
        num_classes=K,
        in_channels=[4, 8],
        strides=[8, 16],
        assigner=assigner or TaskAlignedAssigner(),
        loss_cls=SigmoidCrossEntropyLoss(0.5),
        loss_bbox=CIoULoss(min_iou=0, loss_weight=7.5),
        loss_dfl=DistributionFocalLoss(1.5),
        max_per_img=6,
    )
    return YOLOv8Head(**arguments | settings)


def _feats(num_images: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(4, 4, 6), (8, 2, 3)]
    return [torch.randn(num_images, *size, generator=generator) for size in sizes]


def _batch(*boxes: torch.Tensor):
    labels = [torch.arange(len(each)) for each in boxes]
    shapes = [SIZE] * len(boxes)
    return make_batch(torch.zeros(len(boxes), 3, *SIZE), shapes, shapes, make_gt(boxes, labels))


@pytest.mark.parametrize(
    ("size", "millions", "giga"), [("n", 3.2, 8.7), ("s", 11.2, 28.6), ("m", 25.9, 78.9)]
)
def test_detectors_have_the_published_parameters_and_operations(size, millions, giga):
    with torch.device("meta"):
        model = build_model(load_config(f"yolov8/yolov8_{size}_640_coco.py"))
        counter = FlopCounterMode(display=False)
        with counter:
            model.bbox_head(model.neck(model.backbone(torch.zeros(1, 3, 640, 640))))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, abs=1e5)
    assert counter.get_total_flops() / 1e9 == pytest.approx(giga, abs=0.06)


def test_output_has_the_order_of_the_points():
    head, feats = _head().eval(), _feats(2)
    output = head(feats)
    assert output.logits.shape == (2, 30, K)
    assert output.bins.shape == (2, 30, 64)
    logits, bins = head.cls_branches[1](feats[1]), head.reg_branches[1](feats[1])
    assert torch.equal(output.logits[:, 24 + 4], logits[:, :, 1, 1])
    assert torch.equal(output.bins[:, 24 + 4], bins[:, :, 1, 1])
    assert output.priors.centers[24 + 4].tolist() == [24, 24]


def test_widths_are_those_of_the_finest_map():
    head = _head(in_channels=[300, 8], num_classes=90)
    assert head.reg_branches[1][0].out_channels == 75
    assert head.cls_branches[1][0].out_channels == 300
    assert _head(num_classes=90).cls_branches[1][0].out_channels == 90
    assert _head(num_classes=200).cls_branches[1][0].out_channels == 100


def test_biases_begin_as_published():
    head = _head()
    assert (head.reg_branches[0][-1].bias == 1).all()
    for branch, stride in zip(head.cls_branches, (8, 16), strict=True):
        expected = math.log(5 / K / (640 / stride) ** 2)
        assert branch[-1].bias.tolist() == pytest.approx([expected] * K)


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("neighbour", [0, 2])
def test_losses_are_finite_and_every_parameter_has_a_gradient(case, neighbour):
    head = _head(TaskAlignedAssigner(min_side=16))
    losses = head.loss(head(_feats(2)), _batch(SPECIAL[case], BOXES[:neighbour]))
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_without_objects_only_classification_is_trained():
    head = _head()
    losses = head.loss(head(_feats()), _batch(BOXES[:0]))
    assert losses["loss_bbox"] == losses["loss_dfl"] == 0 < losses["loss_cls"]


def test_losses_grow_with_the_batch():
    head = _head().eval()
    once, twice = head(_feats()), head([feat.repeat(2, 1, 1, 1) for feat in _feats()])
    # Enough to score that the sum is not set to 1: the normaliser then doubles, too.
    once.bins, twice.bins = once.bins * 0, twice.bins * 0
    single = head.loss(once, _batch(BOXES))
    scores = head.assigner.assign(
        *(once.priors, _batch(BOXES).gt, None, once.logits),
        head.bbox_coder.decode(once.priors.centers, once.priors.strides[:, :1], once.bins),
    )[1]
    assert scores.sum() > 0
    factor = 2 * max(1, float(scores.sum())) / max(1, 2 * float(scores.sum()))
    for name, value in head.loss(twice, _batch(BOXES, BOXES)).items():
        torch.testing.assert_close(value, 2 * single[name] * factor)


def test_padding_of_the_ground_truth_changes_nothing():
    head = _head()
    output = head(_feats(2))
    few = head.loss(output, _batch(BOXES[:1], BOXES[:1]))
    batch = _batch(BOXES[:1], BOXES)
    batch.gt.valid[1, 1] = False
    for name, value in head.loss(output, batch).items():
        assert torch.equal(value, few[name])


def test_points_beyond_the_padded_image_are_not_trained():
    head = _head()
    output = head(_feats())
    batch = _batch(BOXES[:1])
    expected = head.loss(output, batch)["loss_cls"]
    batch.pad_shapes = torch.tensor([[32, 32]])
    outside = output.priors.centers[:, 0] > 32
    output.logits = torch.where(outside[:, None], 50.0, output.logits)
    assert head.loss(output, batch)["loss_cls"] < expected


def test_an_assigner_by_overlap_sees_squares_around_the_points():
    head = _head(MaxIoUAssigner(0.5, 0.4), prior_scale=2.0)
    output = head(_feats())
    assert output.priors.boxes[0].tolist() == [-4, -4, 12, 12]
    batch = _batch(torch.tensor([[12.0, 4, 28, 20]]))  # the square of the point (20, 12)
    losses = head.loss(output, batch)
    assert losses["loss_bbox"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def _certain_output(head: YOLOv8Head) -> YOLOv8Output:
    """Point 0 is of classes 0 and 2, its box two strides wide; point 9 is of class 1."""
    priors = head(_feats()).priors
    logits = torch.full((1, 30, K), -9.0)
    logits[0, 0] = torch.tensor([2.0, -9, 1])
    logits[0, 9, 1] = 0.5
    bins = torch.full((1, 30, 4, 16), -50.0)
    bins[..., 1] = 50  # a distance of one stride
    return YOLOv8Output(logits, bins.flatten(2), priors)


def test_detections_are_decoded_clipped_and_of_several_classes():
    head = _head(score_thr=0.3)
    detections = head.predict(_certain_output(head), torch.tensor([SIZE]))
    assert detections.labels[0, :3].tolist() == [0, 2, 1]
    assert detections.valid[0].tolist() == [True] * 3 + [False] * 3
    torch.testing.assert_close(
        detections.boxes[0, :3],
        torch.tensor([[0.0, 0, 12, 12], [0, 0, 12, 12], [20, 4, 36, 20]]),
    )
    torch.testing.assert_close(
        detections.scores[0, :3], torch.sigmoid(torch.tensor([2.0, 1.0, 0.5]))
    )


def test_a_point_has_one_class_where_multi_label_is_off():
    head = _head(score_thr=0.3, multi_label=False)
    detections = head.predict(_certain_output(head), torch.tensor([SIZE]))
    assert detections.labels[0, : int(detections.valid.sum())].tolist() == [0, 1]


def test_rows_of_each_class_are_known():
    head = _head()
    state = head.state_dict()
    assert {name: len(state[name]) for name in head.class_rows()} == {
        f"cls_branches.{level}.2.{part}": K for level in range(2) for part in ("weight", "bias")
    }


def test_wrong_number_of_channels_is_told():
    with pytest.raises(ValueError, match="YOLOv8Head: in_channels must be one a stride"):
        _head(in_channels=[4, 8, 16])
