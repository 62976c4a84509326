"""The core has fixed shapes and no host syncs: it is traced as one graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet_lite.models.assigners import APAssigner, ShapeRatioAssigner
from mmdet_lite.models.dense_heads import FCOSHead, YOLOv5Head, YOLOv5Output
from mmdet_lite.models.losses import (
    BinaryCrossEntropyLoss,
    CIoULoss,
    FocalLoss,
    IoULoss,
    SigmoidCrossEntropyLoss,
)
from mmdet_lite.models.priors import AnchorGenerator, YOLOAnchorGenerator
from mmdet_lite.models.roi_heads.mask_branch import mask_loss, num_mask_rois
from mmdet_lite.models.targets import (
    BoxTargets,
    anchor_target,
    bbox_target,
    dense_target,
    entry_target,
    mask_target,
)
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta, Proposals, to_device

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = CONFIGS / "_base_/models/mask-rcnn_r50_fpn.py"
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_gpu)]
SIZE = 64


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.update(depth=18, base_channels=8)
    cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    cfg.rpn_head.update(in_channels=8, feat_channels=8)
    cfg.roi_head.bbox_head.update(in_channels=8, fc_out_channels=8, num_classes=3)
    cfg.roi_head.mask_head.update(in_channels=8, conv_out_channels=8, num_classes=3)
    cfg.roi_head.sampler.num = 16
    cfg.roi_head.pad_mask_rois = True
    return build(cfg, MODELS)


def _batch() -> Batch:
    """Two images, one without objects; one crowd region."""
    boxes = torch.tensor([[[4.0, 4, 30, 40], [20, 10, 60, 60]], [[0] * 4] * 2])
    valid = torch.tensor([[True, True], [False, False]])
    masks = torch.zeros(2, 2, SIZE, SIZE, dtype=torch.uint8)
    masks[0, 0, 4:40, 4:30] = 1
    masks[0, 1, 10:60, 20:60] = 1
    packed = PackedBitmaps.pack(masks)
    ignore = torch.tensor([[[30.0, 30, 50, 50]]] * 2)
    gt = GroundTruth(boxes, torch.tensor([[0, 2], [0, 0]]), valid, ignore, valid[:, :1], packed)
    shapes = torch.tensor([[SIZE, SIZE], [SIZE - 8, SIZE]])
    metas = [ImageMeta(i, "", i, i, (SIZE, SIZE), (SIZE, SIZE)) for i in range(2)]
    images = torch.rand(2, 3, SIZE, SIZE) * 255
    return Batch(images, shapes, torch.full((2, 2), SIZE), torch.tensor([11, 12]), gt, metas)


def _proposals(batch: Batch) -> Proposals:
    noise = torch.rand(2, 30, 4, generator=torch.Generator().manual_seed(0)).to(batch.images) * 12
    noise[..., 2:] += 12  # also boxes around the padded ground truths have a positive size
    boxes = batch.gt.boxes[:, torch.arange(30) % 2] + noise
    valid = torch.ones(2, 30, dtype=torch.bool, device=boxes.device)
    valid[0, 25:] = False
    return Proposals(
        boxes, valid.float(), valid, torch.arange(30, device=boxes.device).expand(2, -1)
    )


def _traced_equals_eager(function: Callable, *args) -> None:
    expected = function(*args)
    torch._dynamo.reset()
    traced = torch.compile(function, fullgraph=True, backend="eager")(*args)
    flat_expected, _ = torch.utils._pytree.tree_flatten(_plain(expected))
    flat_traced, _ = torch.utils._pytree.tree_flatten(_plain(traced))
    assert len(flat_expected) == len(flat_traced) > 0
    for a, b in zip(flat_expected, flat_traced, strict=True):
        torch.testing.assert_close(a, b)


def _plain(value):
    return vars(value) if hasattr(value, "__dataclass_fields__") else value


class Regions:
    """The parts of a training step between which only NMS is ragged."""

    def __init__(self, model: torch.nn.Module, device: str):
        self.model = model.to(device).train()
        self.batch = to_device(_batch(), device)
        self.feats = [f.detach() for f in self.model.extract(self.batch)]
        self.output = self.model.rpn_head(self.feats)
        self.proposals = _proposals(self.batch)

    def anchor_targets(self) -> tuple[Callable, tuple]:
        rpn, priors = self.model.rpn_head, self.output.priors

        def run(batch: Batch):
            valid = priors.valid_flags(batch.shapes, batch.pad_shapes, 0)
            leaves = (rpn.assigner, rpn.sampler, rpn.bbox_coder)
            return anchor_target(priors, valid, batch.gt, batch.keys, *leaves, num_classes=1)

        return run, (self.batch,)

    def rpn_loss(self) -> tuple[Callable, tuple]:
        return self.model.rpn_head.loss, (self.output, self.batch)

    def roi_targets(self) -> tuple[Callable, tuple]:
        head = self.model.roi_head

        def run(proposals: Proposals, batch: Batch):
            leaves = (head.assigner, head.sampler, head.bbox_head.bbox_coder)
            return bbox_target(proposals, batch.gt, batch.keys, *leaves, num_classes=3)

        return run, (self.proposals, self.batch)

    def box_loss(self) -> tuple[Callable, tuple]:
        head, targets = self.model.roi_head, self._targets()

        def run(feats, targets):
            pooled = head.bbox_roi_extractor(feats, targets.priors)
            return head.bbox_head.loss(*head.bbox_head(pooled), targets)

        return run, (self.feats, targets)

    def mask_targets(self) -> tuple[Callable, tuple]:
        targets = self._targets()

        def run(targets, gt):
            return mask_target(targets.priors, targets.assigned_gt, targets.is_pos, gt, 28)

        return run, (targets, self.batch.gt)

    def mask_loss(self) -> tuple[Callable, tuple]:
        head = self.model.roi_head

        def run(feats: list, targets: BoxTargets, batch: Batch):
            most = num_mask_rois(targets, head.sampler.max_pos, padded=True)
            pooled = head.mask_roi_extractor(feats, targets.priors[:, :most])
            return mask_loss(head.mask_head, pooled, targets, batch)

        return run, (self.feats, self._targets(), self.batch)

    def refined_boxes(self) -> tuple[Callable, tuple]:
        """What the next stage of a cascade begins with."""
        head, targets = self.model.roi_head.bbox_head, self._targets()
        pooled = self.model.roi_head.bbox_roi_extractor(self.feats, targets.priors)

        def run(pooled: torch.Tensor, targets: BoxTargets, batch: Batch):
            logits, deltas = head(pooled)
            return {"": head.refine(targets.priors, logits, deltas, targets.labels, batch.shapes)}

        return run, (pooled.detach(), targets, self.batch)

    def retina_loss(self) -> tuple[Callable, tuple]:
        cfg = Config.fromfile(CONFIG.with_name("retinanet_r50_fpn.py")).model.bbox_head
        cfg.update(num_classes=3, in_channels=8, feat_channels=8)
        head = build(cfg, MODELS).to(self.batch.images.device)
        return head.loss, (head(self.feats), self.batch)

    def fcos_loss(self) -> tuple[Callable, tuple]:
        head = FCOSHead(
            *(3, 8, [4, 8, 16, 32, 64], FocalLoss(), IoULoss(), BinaryCrossEntropyLoss()),
            feat_channels=8,
            num_groups=2,
            normalizer="rank",
        ).to(self.batch.images.device)
        return head.loss, (head(self.feats), self.batch)

    def ap_targets(self) -> tuple[Callable, tuple]:
        """All of AP-loss's RetinaNet but the ranking, which picks out entries on purpose."""
        generator = AnchorGenerator([16, 32], [1.0], [2.0], center_offset=0.5, inclusive=True)
        priors, assigner = generator([(4, 4), (2, 2)], self.batch.images.device), APAssigner()

        def run(batch: Batch):
            valid = priors.valid_flags(batch.shapes, batch.pad_shapes)
            return dense_target(priors, valid, batch.gt, assigner, 3, None, None)

        return run, (self.batch,)

    def yolov5_targets(self) -> tuple[Callable, tuple]:
        head, output, batch = self._yolov5()

        def run(sizes: torch.Tensor, batch: Batch):
            priors = output.priors
            valid = priors.valid_flags(batch.shapes, batch.pad_shapes)
            return entry_target(priors, valid, sizes, batch.gt, head.assigner, head.num_classes)

        return run, (head.sizes, batch)

    def yolov5_loss(self) -> tuple[Callable, tuple]:
        head, output, batch = self._yolov5()
        balance = head.obj_balance.clone()

        def run(output: YOLOv5Output, batch: Batch):
            head.obj_balance.copy_(balance)  # which the last call has changed
            return head.loss(output, batch)

        return run, (output, batch)

    def _yolov5(self) -> tuple[YOLOv5Head, YOLOv5Output, Batch]:
        sizes = [[(8, 10), (16, 12)], [(20, 30), (40, 40)], [(50, 60), (90, 70)]]
        head = YOLOv5Head(
            *(3, [8, 8, 8], YOLOAnchorGenerator([8, 16, 32], sizes), ShapeRatioAssigner()),
            *(SigmoidCrossEntropyLoss(), SigmoidCrossEntropyLoss(), CIoULoss(min_iou=0)),
            autobalance=True,
        ).to(self.batch.images.device)
        return head, head(self.feats[1:4]), self.batch

    def yolov8_loss(self) -> tuple[Callable, tuple]:
        cfg = Config.fromfile(CONFIG.with_name("yolov8_n.py")).model.bbox_head
        cfg.update(num_classes=3, in_channels=[8] * 3, strides=[4, 8, 16])
        cfg.assigner.min_side = 8
        head = build(cfg, MODELS).to(self.batch.images.device)
        return head.loss, (head(self.feats[:3]), self.batch)

    def retina_with_task_alignment_loss(self) -> tuple[Callable, tuple]:
        cfg = Config.fromfile(CONFIG.with_name("retinanet_r50_fpn.py")).model.bbox_head
        cfg.update(num_classes=3, in_channels=8, feat_channels=8)
        cfg.assigner, cfg.loss_cls = {"type": "TaskAlignedAssigner"}, {"type": "QualityFocalLoss"}
        head = build(cfg, MODELS).to(self.batch.images.device)
        return head.loss, (head(self.feats), self.batch)

    def nanodet_plus_loss(self) -> tuple[Callable, tuple]:
        cfg = Config.fromfile(CONFIG.with_name("nanodet-plus-m.py")).model.bbox_head
        cfg.update(num_classes=3, in_channels=8, feat_channels=8)
        head = build(cfg, MODELS).to(self.batch.images.device)
        output, aux = head(self.feats[:4]), head([f.flip(1) for f in self.feats[:4]])
        return head.loss, (output, self.batch, aux)

    def _targets(self):
        run, args = self.roi_targets()
        return run(*args)


REGIONS = [
    *("anchor_targets", "rpn_loss", "roi_targets", "box_loss", "mask_targets", "mask_loss"),
    *("refined_boxes", "retina_loss", "fcos_loss", "ap_targets", "yolov5_targets", "yolov5_loss"),
    *("yolov8_loss", "retina_with_task_alignment_loss"),
    "nanodet_plus_loss",
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("region", REGIONS)
def test_region_is_one_graph(model, region, device):
    function, args = getattr(Regions(model, device), region)()
    _traced_equals_eager(function, *args)


@pytest.mark.parametrize("name", ["nanodet-plus", "yolov5"])
def test_a_detector_s_regions_are_traced_as_one_graph_each(name):
    """They are what train.compile compiles; the rest of the model calls them by these names."""
    torch.manual_seed(0)
    model = build(Config.fromfile(CONFIGS / f"demo/{name}_shapes.py").model, MODELS).train()
    batch = _batch()
    expected, graphs = model(batch), []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> Callable:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    for module, method in model.regions():
        function = getattr(module, method)
        setattr(module, method, torch.compile(function, fullgraph=True, backend=backend))
    torch.testing.assert_close(model(batch), expected)
    # modules of one class have one graph, which takes their parameters as inputs
    assert len(graphs) == len({(type(module), method) for module, method in model.regions()}) >= 3


@pytest.mark.needs_gpu
@pytest.mark.parametrize("region", REGIONS)
def test_region_does_not_wait_for_the_device(model, region):
    function, args = getattr(Regions(model, "cuda"), region)()
    function(*args)  # what is cached is made now
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        function(*args)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.slow
@pytest.mark.needs_compiler
@pytest.mark.parametrize("region", REGIONS)
def test_region_compiles_with_inductor(model, region):
    function, args = getattr(Regions(model, "cpu"), region)()
    expected, compiled = function(*args), torch.compile(function, fullgraph=True)(*args)
    for a, b in zip(
        torch.utils._pytree.tree_leaves(_plain(expected)),
        torch.utils._pytree.tree_leaves(_plain(compiled)),
        strict=True,
    ):
        # Inductor adds in another order, 1.5e-5 off on 10,000 anchors, where eager is exact.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
