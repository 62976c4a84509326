"""torchvision's detectors, set up as ours are: the same layers trained, the same images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from mmdet_lite.apis.classes import check_filled
from mmdet_lite.apis.config import require
from mmdet_lite.structures.samples import Batch

TRAINED_STAGES = 3  # of the four; the stem and the first are frozen, as in our 1x configs


def kind_of(cfg: Config) -> tuple[int, bool]:
    """Number of classes of a config's model, and whether it has masks.

    Raises:
        ValueError: there is no model, or none that torchvision has too, or ``num_classes`` is open.
    """
    require(cfg, ("model",))
    check_filled(cfg)
    head = cfg.model.get("roi_head")
    backbone = cfg.model.get("backbone", {})
    if head is None or backbone.get("type") != "ResNet" or backbone.get("depth") != 50:
        raise ValueError(
            "the benchmark compares Faster and Mask R-CNN with a ResNet-50 and FPN, which "
            "torchvision has too; give a config of one of them, such as "
            "configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
        )
    return head.bbox_head.num_classes, head.get("mask_head") is not None


def torchvision_detector(num_classes: int, with_masks: bool, batch: Batch) -> nn.Module:
    """Faster or Mask R-CNN with a ResNet-50 and FPN, and batch norms that are frozen.

    The weights are random, the norms' statistics those of the images, so that activations are of
    the size that a trained network's are: otherwise there are hardly any proposals, and nothing to
    do for the second stage. Its own resizing is off, as the images have their size.

    Args:
        num_classes: K.
        with_masks: Mask R-CNN.
        batch: whose images it is to see.
    """
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=TRAINED_STAGES,
    )
    detector = MaskRCNN if with_masks else FasterRCNN
    height, width = batch.images.shape[-2:]
    sizes = {"min_size": min(height, width), "max_size": max(height, width)}
    model = detector(backbone, num_classes + 1, **sizes, _skip_resize=True)
    model.to(batch.images.device)
    images, _ = model.transform(torchvision_inputs(batch)[0])
    _freeze_norms(model, images.tensors)
    return model


def _freeze_norms(model: nn.Module, images: Tensor) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average of what it sees
    with torch.no_grad():
        model.train().backbone(images)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
                state = child.state_dict()
                del state["num_batches_tracked"]
                frozen.load_state_dict(state)
                setattr(module, name, frozen.to(images.device))


def torchvision_inputs(batch: Batch) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images in 0..1 and targets, in which the background is class 0."""
    images = [
        image[:, :height, :width].float() / 255
        for image, (height, width) in zip(batch.images, batch.shapes.tolist(), strict=True)
    ]
    targets = []
    for i, (height, width) in enumerate(batch.shapes.tolist()):
        target = {"boxes": batch.gt.boxes[i], "labels": batch.gt.labels[i] + 1}
        if batch.gt.masks is not None:
            target["masks"] = batch.gt.masks[i].unpack()[:, :height, :width]
        targets.append(target)
    return images, targets


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch
) -> Callable[[], None]:
    """A step as torchvision's reference training makes it.

    Args:
        model: in training mode, on the batch's device.
        optimizer: over its trainable parameters.
        batch: images and targets.
    """
    images, targets = torchvision_inputs(batch)

    def step() -> None:
        total = sum(model(images, targets).values())
        total.item()  # its reference script reads the losses in every step, to end a run at NaN
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step
