"""A whole Mask R-CNN with given weights: losses, gradients, proposals, detections, masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from reference import ROOT, Arrays, close, close_boxes, load_json, make_batch, make_gt

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.pasting import paste_masks

REF = Arrays("e2e_mask_rcnn")
TAGS = [f"img{i}" for i in range(2)]

# Of single values behind the whole network: the reference's own rounding (float32) is up to 4.3e-6
# against float64, and how ours rounds depends on the processor's convolution kernels.
MAP_ATOL = 1e-5


def _model_config() -> dict:
    """The reference's configuration in our form; its numbers are read, not repeated."""
    ref = load_json("e2e_mask_rcnn_config")
    rpn, roi, train, test = ref["rpn_head"], ref["roi_head"], ref["train_cfg"], ref["test_cfg"]
    backbone = ref["backbone"]

    def coder(cfg: dict) -> dict:
        return dict(
            type="DeltaXYWHBBoxCoder",
            target_means=cfg["bbox_coder"]["target_means"],
            target_stds=cfg["bbox_coder"]["target_stds"],
        )

    def sampler(cfg: dict) -> dict:
        keys = ("num", "pos_fraction", "neg_pos_ub", "add_gt_as_proposals")
        return dict(type="RandomSampler", **{key: cfg["sampler"][key] for key in keys})

    def selector(cfg: dict) -> dict:
        return dict(
            type="ProposalSelector",
            nms_pre=cfg["nms_pre"],
            max_per_img=cfg["max_per_img"],
            nms_iou_thr=cfg["nms"]["iou_threshold"],
            min_bbox_size=cfg["min_bbox_size"],
        )

    def extractor(name: str) -> dict:
        return dict(
            type="RoIExtractor",
            output_size=roi[name]["roi_layer"]["output_size"],
            sampling_ratio=roi[name]["roi_layer"]["sampling_ratio"],
            featmap_strides=roi[name]["featmap_strides"],
        )

    return dict(
        type="TwoStageDetector",
        normalizer=dict(type="ImageNormalizer", mean=[0.0] * 3, std=[1.0] * 3),
        backbone=dict(
            type="ResNet",
            depth=backbone["depth"],
            base_channels=backbone["base_channels"],
            frozen_stages=backbone["frozen_stages"],
            norm_eval=backbone["norm_eval"],
        ),
        neck=ref["neck"],
        rpn_head=dict(
            type="RPNHead",
            in_channels=rpn["in_channels"],
            feat_channels=rpn["feat_channels"],
            anchor_generator=rpn["anchor_generator"],
            bbox_coder=coder(rpn),
            loss_cls=dict(type="BinaryCrossEntropyLoss"),
            loss_bbox=dict(type="L1Loss"),
            assigner=train["rpn"]["assigner"],
            sampler=sampler(train["rpn"]),
            train_selector=selector(train["rpn_proposal"]),
            test_selector=selector(test["rpn"]),
        ),
        roi_head=dict(
            type="RoIHead",
            assigner=train["rcnn"]["assigner"],
            sampler=sampler(train["rcnn"]),
            bbox_roi_extractor=extractor("bbox_roi_extractor"),
            mask_roi_extractor=extractor("mask_roi_extractor"),
            bbox_head=dict(
                type="ConvFCBBoxHead",
                num_classes=roi["bbox_head"]["num_classes"],
                in_channels=roi["bbox_head"]["in_channels"],
                fc_out_channels=roi["bbox_head"]["fc_out_channels"],
                bbox_coder=coder(roi["bbox_head"]),
                loss_cls=dict(type="CrossEntropyLoss"),
                loss_bbox=dict(type="L1Loss"),
                score_thr=test["rcnn"]["score_thr"],
                nms={"type": "NMS", "iou_thr": test["rcnn"]["nms"]["iou_threshold"]},
                max_per_img=test["rcnn"]["max_per_img"],
            ),
            mask_head=dict(
                type="FCNMaskHead",
                num_classes=roi["mask_head"]["num_classes"],
                num_convs=roi["mask_head"]["num_convs"],
                in_channels=roi["mask_head"]["in_channels"],
                conv_out_channels=roi["mask_head"]["conv_out_channels"],
                loss_mask=dict(type="MaskCrossEntropyLoss"),
                mask_thr=test["rcnn"]["mask_thr_binary"],
            ),
        ),
    )


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    model = build(_model_config(), MODELS)
    weights = np.load(ROOT / "two_stage/e2e_mask_rcnn_weights.npz")
    state = {k: torch.from_numpy(np.asarray(weights[k]).astype(np.float32)) for k in weights.files}
    model.load_state_dict(state, strict=True)
    return model


@pytest.fixture(scope="module")
def batch():
    masks = [REF.masks(f"{tag}_gt_masks") for tag in TAGS]
    most = max(len(m) for m in masks)
    padded = torch.zeros(2, most, *masks[0].shape[1:], dtype=torch.uint8)
    for i, mask in enumerate(masks):
        padded[i, : len(mask)] = mask
    gt = make_gt(
        [REF[f"{tag}_gt_bboxes"] for tag in TAGS],
        [REF[f"{tag}_gt_labels"] for tag in TAGS],
        masks=PackedBitmaps.pack(padded),
    )
    shapes = [REF.size(f"{tag}_img_shape") for tag in TAGS]
    return make_batch(REF["img"], shapes, [REF.size(f"{tag}_pad_shape") for tag in TAGS], gt)


@pytest.fixture(scope="module")
def losses(model, batch) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    losses = model.loss(batch)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    return {name: value.detach() for name, value in losses.items()}


@pytest.mark.parametrize(
    "name", ["loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask", "acc"]
)
def test_each_loss_equals_the_reference(losses, name):
    close(losses[name], REF[f"loss/{name}"].sum(), rtol=1e-4)


def test_total_loss_equals_the_reference(losses):
    total = sum(value for name, value in losses.items() if "loss" in name)
    close(total, REF["loss/total"], rtol=1e-4)


def test_gradient_of_every_parameter_equals_the_reference(model, losses):
    names = [str(name) for name in np.load(ROOT / "two_stage/e2e_mask_rcnn.npz")["grad_names"]]
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert sorted(grads) == sorted(names)
    for name, l2, total in zip(names, REF["grad_l2"], REF["grad_sum"], strict=True):
        close(grads[name].norm(), l2, rtol=1e-3)
        close(grads[name].sum(), total, rtol=1e-3)
    full = [name for name in REF.names if name.startswith("grad/")]
    assert full
    for name in full:
        close(grads[name.removeprefix("grad/")], REF[name], rtol=1e-3)


def test_feature_maps_equal_the_reference(model, batch):
    model.eval()
    with torch.no_grad():
        feats = model.extract(batch)
    for level, feat in enumerate(feats):
        close(feat.abs().mean(), REF[f"fpn_{level}_mean_abs"])
        close(feat.mean(dim=(2, 3)), REF[f"fpn_{level}_channel_mean"])
    close(feats[3], REF["fpn_3"], rtol=1e-4, atol=MAP_ATOL)
    close(feats[4], REF["fpn_4"], rtol=1e-4, atol=MAP_ATOL)


def test_rpn_maps_equal_the_reference(model, batch):
    model.eval()
    with torch.no_grad():
        output = model.rpn_head(model.extract(batch))
    sizes = list(output.priors.level_sizes)
    logits, deltas = output.logits.split(sizes, dim=1), output.deltas.split(sizes, dim=1)
    for level in (2, 3, 4):
        theirs = REF[f"rpn_cls_{level}"].permute(0, 2, 3, 1).reshape(2, -1)
        close(logits[level], theirs, rtol=1e-4, atol=MAP_ATOL)
        theirs = REF[f"rpn_reg_{level}"].permute(0, 2, 3, 1).reshape(2, -1, 4)
        close(deltas[level], theirs, rtol=1e-4, atol=MAP_ATOL)


@pytest.mark.parametrize("training", [True, False])
def test_proposals_and_their_assignment_equal_the_reference(model, batch, training):
    model.eval()
    with torch.no_grad():
        output = model.rpn_head(model.extract(batch))
        proposals = model.rpn_head.propose(output, batch.shapes, training=training)
    assigner: MaxIoUAssigner = model.roi_head.assigner
    assigned = assigner.assign(proposals.boxes, batch.gt, proposals.valid)
    for i, tag in enumerate(TAGS):
        count = len(REF[f"{tag}_proposals"])
        assert int(proposals.valid[i].sum()) == count
        close_boxes(proposals.boxes[i, :count], REF[f"{tag}_proposals"])
        close(proposals.scores[i, :count], REF[f"{tag}_proposal_scores"])
        # Their -1 is ignore, 0 background and i + 1 ground truth i; ours are one less.
        expected = REF[f"{tag}_proposal_gt_inds"] - 1
        assert torch.equal(assigned[i, :count], expected)


@pytest.mark.parametrize("tag", ["rescale", "norescale"])
def test_detections_and_masks_equal_the_reference(model, batch, tag):
    model.eval()
    detections = model.predict(batch)
    rles = load_json("e2e_mask_rcnn_rle")
    for i in range(2):
        name = f"{tag}_img{i}"
        count = len(REF[f"{name}_scores"])
        assert int(detections.valid[i].sum()) == count
        scale = REF[f"img{i}_scale_factor"].float()
        boxes = detections.boxes[i, :count]
        size = REF.size(f"img{i}_ori_shape")
        if tag == "rescale":
            boxes = boxes / scale.repeat(2)
        else:
            size = tuple(rles[name][0]["size"])
        close_boxes(boxes, REF[f"{name}_bboxes"])
        close(detections.scores[i, :count], REF[f"{name}_scores"], rtol=1e-4)
        assert torch.equal(detections.labels[i, :count], REF[f"{name}_labels"])

        masks = paste_masks(detections.masks[i, :count], boxes, size, detections.mask_thr)
        theirs = np.stack([coco_mask.decode(rle) for rle in rles[name]]).astype(bool)
        assert (masks.numpy() != theirs).mean() <= 0.001
