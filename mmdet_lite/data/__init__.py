"""Data sets, transforms, samplers and loaders; importing this fills their registries."""

from mmdet_lite.data import (
    affine,
    coco_dataset,
    letterbox,
    mixing,
    photometric,
    pipeline,
    shapes_dataset,
    subset,
    transforms,
    wrappers,
)

__all__ = [
    "affine",
    "coco_dataset",
    "letterbox",
    "mixing",
    "photometric",
    "pipeline",
    "shapes_dataset",
    "subset",
    "transforms",
    "wrappers",
]
