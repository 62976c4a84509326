"""Everything with weights, and what decides its targets. Importing it fills the registry."""

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
