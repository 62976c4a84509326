"""Importing this fills the registry of models."""

from mmdet_lite.models import (
    assigners,
    backbones,
    coders,
    dense_heads,
    detectors,
    losses,
    necks,
    priors,
    roi_heads,
    samplers,
)

__all__ = [
    "assigners",
    "backbones",
    "coders",
    "dense_heads",
    "detectors",
    "losses",
    "necks",
    "priors",
    "roi_heads",
    "samplers",
]
