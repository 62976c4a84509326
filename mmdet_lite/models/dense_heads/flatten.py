"""From a head's map to a row a prior."""

from __future__ import annotations

from torch import Tensor


def flatten_map(feature_map: Tensor, channels: int) -> Tensor:
    """(B, num_base * channels, H, W) to (B, H * W * num_base, channels)."""
    return feature_map.permute(0, 2, 3, 1).reshape(feature_map.shape[0], -1, channels)
