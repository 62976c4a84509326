"""Importing this fills the registries of data sets and transforms."""

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
