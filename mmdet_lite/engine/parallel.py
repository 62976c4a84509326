"""The model as several processes train it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mmdet_lite.engine.distributed import world_size, wrap
from mmdet_lite.engine.randomness import unchanged_generators
from mmdet_lite.structures.samples import Batch


class ParallelModel:
    """Calls a model so that the processes average its gradients; one process calls it as it is.

    DistributedDataParallel takes note of the trainable parameters when it is built, and settles in
    which buckets to send their gradients after its first step. Of three processes and more a
    value's place in its bucket decides in which order it is summed. So it is built anew when
    layers are frozen or thawed, and takes its first step before the first one that counts: else a
    resumed run's first step would differ from the same step of a run that was not interrupted.

    Args:
        model: the model, unwrapped, on its device.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.wrapped = wrap(model)
        self._trainable = self._find_trainable()
        self._is_settled = world_size() == 1

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of this process's batch."""
        return self.wrapped(batch)

    def without_sync(self) -> AbstractContextManager:
        """Leave the gradients of a batch on this process; the next batch's go with them."""
        return nullcontext() if world_size() == 1 else self.wrapped.no_sync()

    def settle(self, run_backward: Callable[[], None]) -> None:
        """Follow what was frozen, thawed or resumed since the last step; all call it together.

        Args:
            run_backward: a step's forward and backward pass, of which no trace will be left.
        """
        trainable = self._find_trainable()
        if trainable != self._trainable:
            self._trainable = trainable
            self._forget_gradients_of_frozen()
            self.wrapped = wrap(self.model)
            self._is_settled = world_size() == 1
        if not self._is_settled:
            with _unchanged(self.model), unchanged_generators():
                run_backward()
            self._is_settled = True

    def _forget_gradients_of_frozen(self) -> None:
        """Those of an update's earlier batches, which the processes would no longer average."""
        for parameter in self.model.parameters():
            if not parameter.requires_grad:
                parameter.grad = None

    def _find_trainable(self) -> list[bool]:
        return [parameter.requires_grad for parameter in self.model.parameters()]


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put back the gradients, which may be of an update's first batches, and the buffers."""
    parameters, buffers = list(model.parameters()), list(model.buffers())
    gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
    before = [buffer.clone() for buffer in buffers]
    for parameter in parameters:
        parameter.grad = None
    yield
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    with torch.no_grad():
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
