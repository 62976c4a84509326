"""Batches on their way to the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mmdet_lite.structures.samples import Batch, map_tensors, to_device


class Prefetcher:
    """Batches on a device; each is copied to a GPU while the step before it computes.

    The copy is queued on a stream of its own before the batch ahead of it is handed out, and needs
    pinned memory to run beside that stream's work. On the CPU nothing is read ahead.

    Args:
        batches: on the host.
        device: where they are needed.
    """

    def __init__(self, batches: Iterator[Batch], device: torch.device):
        self._batches = batches
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._ahead: Batch | Exception | None = None

    def __iter__(self) -> Prefetcher:
        return self

    def __next__(self) -> Batch:
        """The next batch; raises what loading it has raised, not what the one after it did."""
        if self._stream is None:
            return to_device(next(self._batches), self._device)
        batch = self._fetch() if self._ahead is None else self._ahead
        if isinstance(batch, Exception):
            raise batch
        batch = self._hand_over(batch)
        self._ahead = self._fetch()
        return batch

    def _fetch(self) -> Batch | Exception:
        try:
            batch = next(self._batches)
            with torch.cuda.stream(self._stream):
                return to_device(batch, self._device)
        except Exception as error:  # StopIteration too
            return error

    def _hand_over(self, batch: Batch) -> Batch:
        """Let the stream that computes wait for the copy, and its memory for that stream's work."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._stream)

        def keep(tensor: Tensor) -> Tensor:
            tensor.record_stream(computing)
            return tensor

        return map_tensors(batch, keep)
