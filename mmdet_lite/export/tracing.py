"""From a detector to one graph of tensor operations, by torch.export.

Letters: B images, A priors, D detections, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mmdet_lite.structures.samples import Batch

INPUTS = ("images", "shapes")
_TRACED_SIDE = 384  # of an open size: two cells at least on the coarsest level of all detectors
_TRACED_IMAGES = 2  # of an open number: torch takes 0 and 1 for fixed


@dataclass(frozen=True)
class InputForm:
    """What an exported model takes.

    Attributes:
        size: (width, height) in pixels.
        batch: images.
        dynamic: it takes any number of images and any size whose sides are multiples of ``step``;
            ``size`` and ``batch`` then say nothing but what it is tried on.
        step: of the sides.
    """

    size: tuple[int, int]
    batch: int = 1
    dynamic: bool = False
    step: int = 32

    def cases(self) -> list[tuple[int, tuple[int, int]]]:
        """Numbers of images and (width, height), on which the exported model is tried."""
        if not self.dynamic:
            return [(self.batch, self.size)]
        width, height = self.size
        other = (width + 2 * self.step, height + self.step)
        return [(self.batch, self.size), (self.batch + 1, other)]


class ExportableDetector(nn.Module):
    """A detector whose inputs and outputs are plain tensors.

    Args:
        model: the detector, in evaluation mode.
        with_nms: its detections; otherwise all boxes and scores, of a one-stage detector.
    """

    def __init__(self, model: nn.Module, with_nms: bool = True):
        super().__init__()
        self.model = model
        self.with_nms = with_nms

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what :meth:`forward` returns."""
        if not self.with_nms:
            return ("boxes", "scores")
        masks = () if self.model.mask_format is None else ("masks",)
        return ("boxes", "scores", "labels", "valid", *masks)

    def forward(self, images: Tensor, shapes: Tensor) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            images: (B, 3, H, W) uint8 RGB, zero outside of the pictures.
            shapes: (B, 2) int64 (height, width) of the pictures, which begin at the upper left.

        Returns:
            boxes (B, D, 4), scores (B, D), labels (B, D), valid (B, D) and, of a detector with a
            mask branch, masks (B, D, m, m); or boxes (B, A, 4) and scores (B, A, K).
        """
        batch = Batch(images, shapes, pad_shapes=shapes, keys=shapes[:, 0], gt=None, metas=[])
        if not self.with_nms:
            return self.model.predict_all(batch)
        found = self.model.predict(batch)
        tensors = (found.boxes, found.scores, found.labels, found.valid)
        return tensors if found.masks is None else (*tensors, found.masks)


def trace(detector: ExportableDetector, form: InputForm) -> ExportedProgram:
    """The detector as one graph.

    Args:
        detector: on the CPU, in evaluation mode.
        form: of its inputs.

    Raises:
        ValueError: it does something that a graph cannot hold; with the exporter's reason.
        ImportError: torch is too old.
    """
    if not hasattr(torch.compiler, "is_exporting"):
        raise ImportError(f"an export needs torch 2.7 or later, this is {torch.__version__}")
    count, (width, height) = form.batch, form.size
    dynamic_shapes = None
    if form.dynamic:
        rows = -(-_TRACED_SIDE // form.step)
        count, height, width = _TRACED_IMAGES, rows * form.step, (rows + 3) * form.step
        sides = {2: form.step * Dim("rows"), 3: form.step * Dim("columns")}
        batch = Dim("batch")
        dynamic_shapes = {"images": {0: batch, **sides}, "shapes": {0: batch}}
    images = torch.zeros(count, 3, height, width, dtype=torch.uint8)
    shapes = torch.tensor([[height, width]] * count)
    name = type(detector.model).__name__
    with torch.no_grad(), quiet(), explained(f"{name} cannot be traced by torch.export"):
        return torch.export.export(detector, (images, shapes), dynamic_shapes=dynamic_shapes)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever an exporter raises into a ValueError that begins with ``what``."""
    try:
        yield
    except Exception as error:  # exporters raise all kinds
        if isinstance(error, ValueError) and type(error).__module__ == "builtins":
            raise
        raise ValueError(f"{what}: {type(error).__name__}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The first lines of the error that the others come from."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "\n  ".join(lines[:6])


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' warnings about their own insides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
