"""Whether a model is run to be exported, when shapes may not depend on the data's values."""

from __future__ import annotations

import torch

_CAN_TELL = hasattr(torch.compiler, "is_exporting")  # from torch 2.7 on


def is_exporting() -> bool:
    """Whether torch.export traces the caller; where torch cannot tell, False."""
    return _CAN_TELL and torch.compiler.is_exporting()
