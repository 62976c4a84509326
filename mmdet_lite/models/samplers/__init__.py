"""Samplers: which of the assigned priors enter the loss."""

from mmdet_lite.models.samplers.random_sampler import (
    AllSampler,
    OHEMSampler,
    RandomSampler,
    Sampled,
)

__all__ = ["AllSampler", "OHEMSampler", "RandomSampler", "Sampled"]
