"""Running out of the GPU's memory, explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmdet_lite.structures.samples import Batch


@contextmanager
def explain_out_of_memory(batch: Batch) -> Iterator[None]:
    """Say which batch did not fit.

    Raises:
        MemoryError: instead of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(f"{_describe(batch)}\n{_ADVICE}\ntorch: {error}") from error


_ADVICE = (
    "Lower train_data.batch_size (train.accumulate keeps the images of an optimizer step), set "
    "train.precision='bf16', or choose smaller images; many objects in an image cost memory too"
)


def _describe(batch: Batch) -> str:
    pictures = ", ".join(f"{meta.image_id} {meta.shape[0]}x{meta.shape[1]}" for meta in batch.metas)
    text = (
        f"out of GPU memory in a step with images {tuple(batch.images.shape)}; picture ids with "
        f"height x width: {pictures}"
    )
    if batch.gt is not None:
        # the padded count is on the host; counting valid rows would ask the device
        text += f"; objects, padded to the most in an image: {batch.gt.valid.shape[1]}"
    return text
