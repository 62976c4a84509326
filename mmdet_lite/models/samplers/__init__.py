"""Samplers: which of the assigned priors enter the loss."""

from mmdet_lite.models.samplers.random_sampler import (
    OHEMSampler,
    RandomSampler,
    Sampled,
)

__all__ = ["OHEMSampler", "RandomSampler", "Sampled"]
