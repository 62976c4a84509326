"""A traced detector as a .pt2 file of torch.export, which torch and torchvision run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from mmdet_lite.export.tracing import explained, quiet

METADATA = "metadata.json"  # the extra file in it

Runner = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


def torch_bytes(program: ExportedProgram, metadata: dict[str, Any]) -> bytes:
    """The content of a .pt2 file.

    Args:
        program: the traced detector.
        metadata: plain values; they become the extra file ``metadata.json``.

    Raises:
        ValueError: torch.export cannot write it; with its reason.
    """
    from mmdet_lite.models.exported_nms import keep_best_by_torchvision

    operators = {torch.ops.mmdet_lite.keep_best.default: keep_best_by_torchvision}
    file = io.BytesIO()
    with torch.no_grad(), quiet(), explained("torch.export cannot write the model"):
        program = program.run_decompositions(operators)
        torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})
    return file.getvalue()


def torch_runner(content: bytes) -> Runner:
    """Runs the content of a .pt2 file, on the CPU.

    Raises:
        ValueError: torch does not take it; with its reason.
    """
    with quiet(), explained("torch cannot load the exported model"):
        model = torch.export.load(io.BytesIO(content)).module()

    def run(images: np.ndarray, shapes: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad(), explained("torch cannot run the exported model"):
            outputs = model(torch.from_numpy(images), torch.from_numpy(shapes))
        return [output.numpy() for output in outputs]

    return run
