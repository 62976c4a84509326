"""The whole detector: what goes in, every parameter's gradient, batches of any content."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.detectors import ImageNormalizer, TwoStageDetector
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.samples import Batch, Detections

BOXES = [[4.0, 4, 30, 40], [20, 10, 60, 60]]
LOSSES = {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"}


def _detector(cfg) -> TwoStageDetector:
    torch.manual_seed(0)
    return build(cfg, MODELS).train()


def _backward(model: TwoStageDetector, batch: Batch) -> dict[str, torch.Tensor]:
    losses = model(batch)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    return losses


def test_pixels_are_normalised_and_padding_stays_zero():
    images = torch.full((2, 3, 4, 4), 110, dtype=torch.uint8)
    shapes = torch.tensor([[4, 4], [2, 3]])
    out = ImageNormalizer(mean=[100, 110, 120], std=[10, 1, 5])(images, shapes)
    assert out.dtype == torch.float32
    assert out[0, :, 0, 0].tolist() == [1, 0, -2]
    assert out[1, 0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0] * 4, [0] * 4]


def test_channels_are_swapped_before_the_mean_is_subtracted():
    red = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    red[:, 0] = 200
    out = ImageNormalizer([1, 2, 3], [1, 1, 1], to_bgr=True)(red, torch.tensor([[1, 1]]))
    assert out.flatten().tolist() == [-1, -2, 197]


@pytest.mark.parametrize(
    "images",
    [[BOXES, BOXES[:1]], [BOXES, []], [[], []], [[]]],
    ids=["objects", "one image empty", "no objects", "one empty image"],
)
@pytest.mark.parametrize("masks", [True, False])
def test_losses_are_finite_and_every_trainable_parameter_gets_a_gradient(
    tiny_config, tiny_batch, images, masks
):
    model = _detector(tiny_config(masks))
    losses = _backward(model, tiny_batch(images))
    assert set(losses) == LOSSES | {"acc"} | ({"loss_mask"} if masks else set())
    for name, value in losses.items():
        assert value.shape == ()
        assert bool(torch.isfinite(value)), name
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), name


def test_where_all_is_ignored_losses_are_finite_and_gradients_exist(tiny_config, tiny_batch):
    cfg = tiny_config()
    cfg.rpn_head.assigner.ignore_iof_thr = cfg.roi_head.assigner.ignore_iof_thr = 0.0
    cfg.roi_head.sampler.add_gt_as_proposals = False
    batch = tiny_batch([BOXES])
    batch.gt.ignore_boxes = torch.tensor([[[-99.0, -99, 199, 199]]])
    batch.gt.ignore_valid = torch.tensor([[True]])
    model = _detector(cfg)
    losses = _backward(model, batch)
    assert all(losses[name].item() == 0 for name in [*LOSSES, "loss_mask"])
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_same_batch_gives_the_same_losses_and_another_iteration_others(tiny_config, tiny_batch):
    model, batch = _detector(tiny_config()), tiny_batch([BOXES, BOXES[:1]])
    first, second = model.loss(batch), model.loss(batch)
    assert all(torch.equal(first[name], second[name]) for name in first)
    batch.keys = batch.keys + 100
    assert not torch.equal(model.loss(batch)["loss_cls"], first["loss_cls"])


def test_order_of_the_images_does_not_change_the_losses(tiny_config, tiny_batch):
    model, batch = _detector(tiny_config()), tiny_batch([BOXES, BOXES[1:]])
    expected = model.loss(batch)
    swapped = tiny_batch([BOXES[1:], BOXES])
    swapped.gt.labels = batch.gt.labels.flip(0)
    swapped.images, swapped.keys = batch.images.flip(0), batch.keys.flip(0)
    for name, value in model.loss(swapped).items():
        torch.testing.assert_close(value, expected[name])


def test_padding_of_ground_truths_does_not_change_the_losses(tiny_config, tiny_batch):
    model, batch = _detector(tiny_config()), tiny_batch([BOXES[:1]])
    expected = model.loss(batch)
    padded = tiny_batch([BOXES[:1], BOXES])
    for name in ("boxes", "labels", "valid", "ignore_boxes", "ignore_valid", "masks"):
        setattr(batch.gt, name, getattr(padded.gt, name)[:1])
    assert batch.gt.valid.tolist() == [[True, False]]
    for name, value in model.loss(batch).items():
        torch.testing.assert_close(value, expected[name])


def test_losses_under_autocast_are_float32_and_close(tiny_config, tiny_batch):
    model, batch = _detector(tiny_config()), tiny_batch([BOXES, []])
    expected = model.loss(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = _backward(model, batch)
    for name in [*LOSSES, "loss_mask"]:
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(losses[name], expected[name], rtol=0.1, atol=0.02)
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())


def test_evaluation_mode_predicts_without_ground_truth(tiny_config, tiny_batch):
    model, batch = _detector(tiny_config()).eval(), tiny_batch([BOXES, []])
    batch.gt = None
    with torch.no_grad():
        model.roi_head.bbox_head.fc_cls.bias.copy_(torch.tensor([3.0, 3, 3, 0]))
    detections = model(batch)
    assert isinstance(detections, Detections)
    assert detections.valid.any(dim=1).all()
    assert not detections.boxes.requires_grad
    assert float(detections.boxes.max()) <= 64
    assert int(detections.labels.max()) <= 2


def test_detections_of_a_batch_equal_those_of_its_single_images(tiny_config, tiny_batch):
    model, batch = _detector(tiny_config()).eval(), tiny_batch([[], [], []])
    with torch.no_grad():
        model.roi_head.bbox_head.fc_cls.bias.copy_(torch.tensor([3.0, 3, 3, 0]))
    together = model(batch)
    for i in range(3):
        single = tiny_batch([[]])
        single.images = batch.images[i : i + 1]
        alone = model(single)
        count = int(alone.valid.sum())
        assert int(together.valid[i].sum()) == count > 0
        torch.testing.assert_close(
            together.boxes[i, :count], alone.boxes[0, :count], rtol=0, atol=1e-3
        )
        torch.testing.assert_close(
            together.masks[i, :count], alone.masks[0, :count], rtol=0, atol=1e-3
        )
        assert torch.equal(together.labels[i, :count], alone.labels[0, :count])


def test_backbone_maps_are_used_where_there_is_no_neck(tiny_config, tiny_batch):
    cfg = tiny_config(masks=False)
    cfg.neck = None
    cfg.backbone.out_indices = (2,)
    cfg.rpn_head.update(in_channels=32)
    cfg.rpn_head.anchor_generator.update(strides=[16], scales=[1, 2])
    cfg.roi_head.bbox_head.in_channels = 32
    cfg.roi_head.bbox_roi_extractor.featmap_strides = [16]
    model = _detector(cfg)
    losses = _backward(model, tiny_batch([BOXES, []]))
    assert all(bool(torch.isfinite(value)) for value in losses.values())


def test_pretrained_weights_are_loaded_on_demand(tiny_config, tmp_path):
    cfg = tiny_config()
    state = _detector(cfg).backbone.state_dict()
    torch.save({name: value + 1 for name, value in state.items()}, tmp_path / "weights.pth")
    cfg.backbone.pretrained = str(tmp_path / "weights.pth")
    model = _detector(cfg)
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"])
    model.init_weights()
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"] + 1)


def test_rows_that_grow_with_the_classes_are_found_in_all_heads(tiny_config):
    model = _detector(tiny_config())
    state = model.state_dict()
    rows = model.class_rows()
    assert {name.split(".")[1] for name in rows} == {"bbox_head", "mask_head"}
    assert all(
        len(state[name]) == row.rows * (3 + row.has_background) for name, row in rows.items()
    )
    assert model.num_classes == 3


@pytest.mark.parametrize(
    ("rule", "needed"), [("roi_align", "bitmaps"), ("polygon", "lazy"), ("legacy", "lazy")]
)
def test_form_of_masks_follows_the_target_rule(tiny_config, rule, needed):
    cfg = tiny_config()
    cfg.roi_head.mask_head.target_rule = rule
    assert _detector(cfg).mask_format == needed
    assert _detector(tiny_config(masks=False)).mask_format is None
