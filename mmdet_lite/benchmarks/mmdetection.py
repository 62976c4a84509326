"""MMDetection's detectors, set up as ours are, where MMDetection 3.x is installed.

What is installed as ``mmcv`` must then be one with its compiled operators.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmdet_lite.structures.samples import Batch

_CONFIGS = ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py")


def is_installed() -> bool:
    """Whether there is MMDetection, and an mmcv that has operators."""
    return all(map(importlib.util.find_spec, ("mmdet", "mmcv._ext")))


def mmdetection_detector(
    num_classes: int, with_masks: bool, weights: dict[str, Tensor], device: torch.device
) -> nn.Module:
    """Faster or Mask R-CNN with a ResNet-50 and FPN, as MMDetection's 1x config has it.

    Args:
        num_classes: K.
        with_masks: Mask R-CNN.
        weights: a state dict of ours, whose names are MMDetection's.
        device: where it is to be.
    """
    import mmdet.models  # fills the registry
    from mmdet.registry import MODELS

    folder = Path(mmdet.__file__).parent / ".mim/configs"
    model = Config.fromfile(folder / _CONFIGS[with_masks]).model
    model.backbone.init_cfg = None
    for head in ("bbox_head", "mask_head")[: 1 + with_masks]:
        model.roi_head[head].num_classes = num_classes
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(model)
    detector.load_state_dict(weights)
    return detector.to(device)


def mmdetection_inputs(batch: Batch) -> dict[str, list]:
    """Images in BGR and their ground truths, as MMDetection's loader gives them."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    images, samples = [], []
    for i, (height, width) in enumerate(batch.shapes.tolist()):
        images.append(batch.images[i, [2, 1, 0], :height, :width])
        objects = InstanceData(bboxes=batch.gt.boxes[i], labels=batch.gt.labels[i])
        if batch.gt.masks is not None:
            masks = batch.gt.masks[i].unpack()[:, :height, :width].cpu().numpy()
            objects.masks = BitmapMasks(masks, height, width)
        shape = (height, width)
        of_image = {"img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)}
        sample = DetDataSample(metainfo={"img_id": i, **of_image})
        sample.gt_instances = objects
        sample.ignored_instances = InstanceData(
            bboxes=objects.bboxes[:0], labels=objects.labels[:0]
        )
        samples.append(sample)
    return {"inputs": images, "data_samples": samples}


def training_step(model: nn.Module, batch: Batch, lr: float) -> Callable[[], Any]:
    """A step as MMEngine's loop makes it, from pixels to new weights.

    Args:
        model: in training mode, on the batch's device.
        batch: images and targets.
        lr: learning rate of its SGD.
    """
    from mmengine.optim import OptimWrapper

    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    wrapper, data = OptimWrapper(optimizer), mmdetection_inputs(batch)
    return lambda: model.train_step(data, wrapper)


def detection(model: nn.Module, batch: Batch) -> Callable[[], Any]:
    """From pixels to boxes, and to masks that are pasted into the image.

    Args:
        model: in evaluation mode, on the batch's device.
        batch: images.
    """
    data = mmdetection_inputs(batch)

    def detect() -> None:
        with torch.inference_mode():
            model.test_step(data)

    return detect
