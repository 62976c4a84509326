"""Targets and losses of both stages, ours and torchvision's, on the same boxes and predictions.

Letters: B images, A anchors, P proposals, S sampled RoIs an image, K classes.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from mmengine.config import Config
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork

from mmdet_lite.apis.build import choose_device
from mmdet_lite.benchmarks.counts import count
from mmdet_lite.benchmarks.inputs import InputSize, random_batch
from mmdet_lite.benchmarks.memory import peak_memory
from mmdet_lite.benchmarks.peers import kind_of, torchvision_inputs
from mmdet_lite.benchmarks.rows import Row, Run, count_row, take_turns, time_row
from mmdet_lite.models.dense_heads.rpn_head import RPNOutput
from mmdet_lite.models.targets import BoxTargets, anchor_target, bbox_target
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.samples import Batch, Proposals, to_device

_PEER = "torchvision"
_NUM_PROPOSALS = 1000


def benchmark_targets(cfg: Config, size: InputSize, rounds: int = 10, warmup: int = 2) -> list[Row]:
    """Measure targets alone, and together with losses and the gradients of predictions.

    Args:
        cfg: of a Faster R-CNN; how anchors and RoIs are assigned, sampled and encoded.
        size: of the inputs.
        rounds, warmup: turns of each, and before these.

    Returns:
        For each of four cases a row of times, operations, waits and peak memory.

    Raises:
        ValueError: the config's model is not one that torchvision has.
        AssertionError: an anchor is positive that is not torchvision's.
    """
    device = choose_device()
    num_classes, _ = kind_of(cfg)
    batch = to_device(random_batch(size, num_classes, with_masks=False), device)
    cases = _RPNCase(cfg, batch).runs() | _RoICase(cfg, batch).runs()
    rows = []
    for case, (ours, peer) in cases.items():
        runs = {"ours": ours, _PEER: peer}
        settings = {**asdict(size), "rounds": rounds}
        memory = [peak_memory(lambda run=run: run, device) for run in runs.values()]
        counts = [count(run) for run in runs.values()]
        seconds = take_turns(runs, rounds, warmup, device)
        rows.append(time_row(case, *seconds.values(), _PEER, settings, unit="ms"))
        for name, unit, (a, b) in (
            ("operations", "operations", [c.operations for c in counts]),
            ("host waits", "waits", [c.waits for c in counts]),
            ("peak memory", "MB", memory),
        ):
            rows.append(count_row(f"{case}: {name}", a, b, _PEER, unit, settings))
    return rows


class _RPNCase:
    """The first stage's targets and losses.

    Args:
        cfg: of a Faster R-CNN.
        batch: with ground truth.
    """

    def __init__(self, cfg: Config, batch: Batch):
        device = batch.images.device
        self.batch = batch
        self.head = build(cfg.model.rpn_head, MODELS).to(device)
        height, width = batch.images.shape[-2:]
        strides = self.head.anchor_generator.strides
        shapes = [(-(-height // stride), -(-width // stride)) for stride in strides]
        self.priors = self.head.anchor_generator(shapes, device)
        self.logits, self.deltas = _noise((len(batch.keys), len(self.priors.ids)), (4,), device)
        self.peer = RegionProposalNetwork(
            *(None, None, 0.7, 0.3, 256, 0.5, {"training": 2000}, {"training": 1000}, 0.7)
        )
        self.anchors = [self.priors.boxes] * len(batch.keys)
        self.boxes = torchvision_inputs(batch)[1]

    def runs(self) -> dict[str, tuple[Run, Run]]:
        """Ours and torchvision's, by name."""
        self._check_positives()
        return {
            "RPN targets": (self.our_targets, self.their_targets),
            "RPN targets, losses, gradients": (self.our_losses, self.their_losses),
        }

    def our_targets(self) -> BoxTargets:
        """With the flags of anchors that may be used."""
        head, batch = self.head, self.batch
        valid = self.priors.valid_flags(batch.shapes, batch.pad_shapes, head.allowed_border)
        leaves = (head.assigner, head.sampler, head.bbox_coder)
        return anchor_target(self.priors, valid, batch.gt, batch.keys, *leaves, num_classes=1)

    def their_targets(self) -> None:
        """Sampling included, which torchvision's loss does."""
        labels, _ = self._their_encoded()
        self.peer.fg_bg_sampler(labels)

    def our_losses(self) -> None:
        """And gradients."""
        output = RPNOutput(*_leaves(self.logits, self.deltas), self.priors)
        sum(self.head.loss(output, self.batch).values()).backward()

    def their_losses(self) -> None:
        """And gradients."""
        labels, targets = self._their_encoded()
        logits, deltas = _leaves(self.logits, self.deltas)
        losses = self.peer.compute_loss(
            logits.reshape(-1, 1), deltas.flatten(0, 1), labels, targets
        )
        sum(losses).backward()

    def _their_encoded(self) -> tuple[list[Tensor], list[Tensor]]:
        with torch.no_grad():
            labels, boxes = self.peer.assign_targets_to_anchors(self.anchors, self.boxes)
            return labels, self.peer.box_coder.encode(boxes, self.anchors)

    def _check_positives(self) -> None:
        """Ours are torchvision's, but for low-quality matches below ``min_pos_iou``."""
        assigned = self.head.assigner.assign(self.priors, self.batch.gt)
        labels, _ = self.peer.assign_targets_to_anchors(self.anchors, self.boxes)
        if not ((assigned >= 0) <= (torch.stack(labels) == 1)).all():
            raise AssertionError(
                "torchvision's positive anchors are others; the config has to have its thresholds, "
                "such as configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
            )


class _RoICase:
    """The second stage's targets and losses, of proposals around the ground truth and elsewhere.

    Args:
        cfg: of a Faster R-CNN.
        batch: with ground truth.
    """

    def __init__(self, cfg: Config, batch: Batch):
        device = batch.images.device
        self.batch = batch
        self.head = build(cfg.model.roi_head, MODELS).to(device)
        self.proposals = _proposals(batch)
        num_rois, num_classes = len(batch.keys) * self.head.sampler.num, self.head.num_classes
        _, self.logits = _noise((num_rois,), (num_classes + 1,), device)
        _, self.deltas = _noise((num_rois,), (num_classes, 4), device)
        self.peer = RoIHeads(
            *(None, None, None, 0.5, 0.5, self.head.sampler.num, 0.25, None, 0.05, 0.5, 100)
        )
        self.boxes = torchvision_inputs(batch)[1]

    def runs(self) -> dict[str, tuple[Run, Run]]:
        """Ours and torchvision's, by name."""
        return {
            "RoI targets": (self.our_targets, self.their_targets),
            "RoI targets, losses, gradients": (self.our_losses, self.their_losses),
        }

    def our_targets(self) -> BoxTargets:
        """Of as many RoIs as the sampler takes."""
        head, batch = self.head, self.batch
        leaves = (head.assigner, head.sampler, head.bbox_head.bbox_coder)
        return bbox_target(self.proposals, batch.gt, batch.keys, *leaves, head.num_classes)

    def their_targets(self) -> tuple[list[Tensor], list[Tensor]]:
        """Labels and deltas."""
        with torch.no_grad():
            proposals = list(self.proposals.boxes)
            _, _, labels, deltas = self.peer.select_training_samples(proposals, self.boxes)
        return labels, list(deltas)

    def our_losses(self) -> None:
        """And gradients; the accuracy for the log, too."""
        losses = self.head.bbox_head.loss(*_leaves(self.logits, self.deltas), self.our_targets())
        (losses["loss_cls"] + losses["loss_bbox"]).backward()

    def their_losses(self) -> None:
        """And gradients."""
        labels, targets = self.their_targets()
        background = self.deltas.new_zeros(len(self.deltas), 1, 4)
        logits, deltas = _leaves(
            self.logits, torch.cat([background, self.deltas], dim=1).flatten(1)
        )
        sum(fastrcnn_loss(logits, deltas, labels, targets)).backward()


def _proposals(batch: Batch) -> Proposals:
    """B x P boxes; of four, one is near a ground truth."""
    generator = torch.Generator().manual_seed(0)
    gt = batch.gt.boxes.cpu()
    shape = (len(gt), _NUM_PROPOSALS)
    boxes = gt[:, torch.arange(_NUM_PROPOSALS) % gt.shape[1]]
    spread = torch.where(torch.arange(_NUM_PROPOSALS) % 4 == 0, 8.0, 80.0)[:, None]
    corner = boxes[..., :2] + torch.randn(*shape, 2, generator=generator) * spread
    sides = boxes[..., 2:] - boxes[..., :2]
    boxes = torch.cat([corner, corner + sides], dim=-1)
    valid, ids = torch.ones(shape, dtype=torch.bool), torch.arange(_NUM_PROPOSALS).expand(shape)
    return to_device(Proposals(boxes, valid.float(), valid, ids), batch.images.device)


def _noise(
    shape: tuple[int, ...], more: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Random predictions of this shape, and of this shape with more dimensions."""
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(s, generator=generator).to(device) for s in (shape, shape + more))


def _leaves(*predictions: Tensor) -> list[Tensor]:
    """The same, with gradients of their own."""
    return [prediction.detach().requires_grad_() for prediction in predictions]
