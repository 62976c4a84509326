"""Data sets, transforms, samplers and loaders; importing this fills their registries."""

from mmdet_lite.data import (
    coco_dataset,
    mixing,
    photometric,
    pipeline,
    shapes_dataset,
    transforms,
    wrappers,
)

__all__ = [
    "coco_dataset",
    "mixing",
    "photometric",
    "pipeline",
    "shapes_dataset",
    "transforms",
    "wrappers",
]
