"""What is shown is what the losses got: read off the calls of the losses themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmdet_lite.assignment.capture import capture
from mmdet_lite.assignment.rows import Status
from mmdet_lite.assignment.stage import Stage
from mmdet_lite.models.target_record import is_recording, recorded_decisions

DENSE = ["retinanet-ap", "retinanet-tal", "fcos", "nanodet-plus", "yolov8", "yolov8-max-iou"]


def _prior_index(stage: Stage, ids: torch.Tensor) -> torch.Tensor:
    """Where the rows of a stage are among all priors."""
    place = {number: index for index, number in enumerate(ids.tolist())}
    return torch.tensor([place[number] for number in stage.ids.tolist()])


@pytest.mark.parametrize("system", DENSE)
def test_dense_classification_gets_the_scores_and_weights_that_are_shown(captive, system):
    one = captive(system)
    scores, weights = one.losses["bbox_head.loss_cls"][0][1:3]
    num_images = len(one.batch.metas)
    scores, weights = scores.reshape(num_images, -1, 6), weights.reshape(num_images, -1)
    for image in range(num_images):
        (stage,) = one.stages(image)
        inds = _prior_index(stage, one.captured[0].decision.ids)
        is_pos = torch.from_numpy(stage.status == Status.POSITIVE)
        labels = one.batch.gt.labels[image][torch.from_numpy(stage.gt)[is_pos]]
        expected = torch.zeros_like(scores[image])
        expected[inds[is_pos], labels] = torch.from_numpy(stage.score)[is_pos]
        torch.testing.assert_close(scores[image], expected)
        ignored = torch.zeros_like(weights[image], dtype=torch.bool)
        ignored[inds[torch.from_numpy(stage.status == Status.IGNORED)]] = True
        assert torch.equal(weights[image] == 0, ignored)


@pytest.mark.parametrize("system", DENSE)
def test_box_loss_gets_the_weights_that_are_shown(captive, system):
    one = captive(system)
    weights = one.losses["bbox_head.loss_bbox"][0][2].reshape(len(one.batch.metas), -1)
    for image in range(len(one.batch.metas)):
        (stage,) = one.stages(image)
        is_pos = stage.status == Status.POSITIVE
        inds = _prior_index(stage, one.captured[0].decision.ids)[torch.from_numpy(is_pos)]
        shown = torch.from_numpy(stage.weight[is_pos])
        torch.testing.assert_close(weights[image][inds].float(), shown)
        others = weights[image].clone()
        others[inds] = 0
        assert shown.sum() > 0 and not others.any()


def test_entries_of_yolov5_are_those_of_its_losses(captive):
    one = captive("yolov5")
    target_boxes, weights = one.losses["bbox_head.loss_bbox"][0][1:3]
    levels = [given[1] for given in one.losses["bbox_head.loss_obj"]]
    num_images = len(one.batch.metas)
    weights = weights.reshape(num_images, -1)
    target_boxes = target_boxes.reshape(num_images, -1, 4)
    for image in range(num_images):
        (stage,) = one.stages(image)
        valid = weights[image] > 0
        torch.testing.assert_close(weights[image][valid], torch.from_numpy(stage.weight))
        # Targets are in cells: their sides times the stride are those of the ground truth.
        boxes = one.batch.gt.boxes[image][torch.from_numpy(stage.gt)]
        strides = torch.tensor(stage.strides)[torch.from_numpy(stage.level)][:, None]
        sides = target_boxes[image][valid]
        torch.testing.assert_close(
            (sides[:, 2:] - sides[:, :2]) * strides, boxes[:, 2:] - boxes[:, :2]
        )
        objectness = torch.cat([one.reshape(num_images, -1)[image] for one in levels])
        inds = _prior_index(stage, one.captured[0].decision.ids)
        torch.testing.assert_close(objectness[inds], torch.from_numpy(stage.score))


@pytest.mark.parametrize("system", ["mask-rcnn", "cascade-rcnn"])
def test_anchors_of_the_rpn_are_those_of_its_losses(captive, system):
    one = captive(system)
    is_pos, weights = one.losses["rpn_head.loss_cls"][0][1:3]
    deltas = one.losses["rpn_head.loss_bbox"][0][1].reshape(*is_pos.shape, 4)
    for image in range(len(one.batch.metas)):
        stage = one.stages(image)[0]
        assert stage.name == "rpn_head"
        assert stage.count(Status.POSITIVE) == is_pos[image].sum() > 0
        sampled = stage.count(Status.POSITIVE) + stage.count(Status.NEGATIVE)
        assert sampled == weights[image].sum()
        _assert_learns(one, image, stage, deltas[image][is_pos[image] > 0], one.model.rpn_head)


@pytest.mark.parametrize(("system", "num_stages"), [("mask-rcnn", 1), ("cascade-rcnn", 3)])
def test_rois_of_every_stage_are_those_of_its_losses(captive, system, num_stages):
    one = captive(system)
    for image in range(len(one.batch.metas)):
        stages = one.stages(image)[1:]
        assert len(stages) == num_stages
        for number, stage in enumerate(stages):
            head = one.model.roi_head.bbox_head
            name = "roi_head.bbox_head" + (f".{number}" if num_stages > 1 else "")
            head = head[number] if num_stages > 1 else head
            shape = one.captured[1 + number].decision.targets.is_pos.shape
            labels, weights = (
                x.reshape(shape)[image] for x in one.losses[f"{name}.loss_cls"][0][1:3]
            )
            is_pos = labels < 6
            gt_labels = one.batch.gt.labels[image][
                torch.from_numpy(stage.gt[stage.status == Status.POSITIVE])
            ]
            assert torch.equal(labels[is_pos].sort().values, gt_labels.sort().values)
            sampled = stage.count(Status.POSITIVE) + stage.count(Status.NEGATIVE)
            assert sampled == weights.sum()
            deltas = one.losses[f"{name}.loss_bbox"][0][1].reshape(*shape, 4)[image][is_pos]
            _assert_learns(one, image, stage, deltas, head)


def _assert_learns(one, image: int, stage: Stage, deltas: torch.Tensor, head: nn.Module) -> None:
    """The deltas that a box loss got are those from the shown boxes to their ground truths."""
    is_pos = torch.from_numpy(stage.status == Status.POSITIVE)
    boxes = torch.from_numpy(stage.boxes)[is_pos]
    targets = one.batch.gt.boxes[image][torch.from_numpy(stage.gt)[is_pos]]
    expected = head.bbox_coder.encode(boxes, targets)
    in_order = (torch.tensor(sorted(rows.tolist())) for rows in (deltas, expected))
    torch.testing.assert_close(*in_order)


def test_nothing_is_recorded_unless_asked():
    assert not is_recording()
    with recorded_decisions() as outer, recorded_decisions() as inner:
        assert is_recording() and outer == inner == []
    assert not is_recording()


def test_hooks_are_gone_and_losses_the_same_after_a_capture(captive):
    one = captive("yolov8")
    hooks = len(one.model.bbox_head.loss_bbox._forward_pre_hooks)
    capture(one.model, one.batch)
    assert len(one.model.bbox_head.loss_bbox._forward_pre_hooks) == hooks == 1  # the tests' own


def test_model_that_makes_its_targets_elsewhere_is_named(captive):
    class Own(nn.Module):
        def forward(self, batch):
            return {"loss": torch.zeros(())}

    with pytest.raises(ValueError, match="Own makes its targets by none of the functions in"):
        capture(Own(), captive("yolov8").batch)
