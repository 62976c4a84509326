"""Data sets, transforms, samplers and loaders; importing this fills their registries."""

from mmdet_lite.data import coco_dataset, photometric, shapes_dataset, transforms

__all__ = ["coco_dataset", "photometric", "shapes_dataset", "transforms"]
