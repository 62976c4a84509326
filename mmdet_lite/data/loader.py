"""Data loaders: batches made by worker processes while the model computes."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import cv2
import torch
from torch._C import _error_if_any_worker_fails
from torch.utils.data import DataLoader, Sampler

from mmdet_lite.data.collate import Collate
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.samplers import EvalBatchSampler, TrainBatchSampler
from mmdet_lite.structures.samples import Batch

logger = logging.getLogger(__name__)

_SIGCHLD = getattr(signal, "SIGCHLD", None)  # not on Windows
# What is seen of a worker that is gone: torch's words for it, and errors when the tensors that it
# had sent already are asked of it.
_DEATH = ("exited unexpectedly", "killed by signal", "items of ancdata")
_LOST = (ConnectionError, EOFError, FileNotFoundError)


class DetectionLoader(DataLoader):
    """A loader of batches; what comes out does not depend on the number of workers.

    Args:
        dataset: what to load from.
        batch_sampler: which samples make up which batch.
        collate: samples to a batch.
        num_workers: worker processes; 0 loads in the calling process.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        batch_sampler: Sampler[list[SampleRef]],
        collate: Collate,
        num_workers: int,
    ):
        super().__init__(
            dataset,
            batch_sampler=batch_sampler,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_init_worker,
            # An own generator: a loader otherwise draws its workers' seeds from torch's global
            # one, and a run would depend on how often it was resumed.
            generator=torch.Generator().manual_seed(dataset.seed),
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches. If a worker dies, new ones go on from the batch that is missing.

        Raises:
            ChildProcessError: a worker died, and its successor died over the same batch.
        """
        done, died_at = 0, -1
        while True:
            try:
                for batch in self._iterate_from(done):
                    done += 1
                    yield batch
                return
            except (RuntimeError, *_LOST) as error:
                if not self._is_death(error):
                    raise
                if died_at == done:
                    raise ChildProcessError(
                        f"{self._explain(error)} It happened twice here."
                    ) from error
                died_at = done
                self._iterator = None  # the one whose worker is dead
                logger.error("%s Trying again with new workers.", self._explain(error))

    def _iterate_from(self, offset: int) -> Iterator[Batch]:
        self.batch_sampler.offset = offset
        with _child_handler():  # undoes that torch sets its own
            batches = super().__iter__()
        while True:
            with _child_handler(lambda *signal_and_frame: _error_if_any_worker_fails()):
                if self.num_workers > 0:
                    _error_if_any_worker_fails()
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _is_death(self, error: Exception) -> bool:
        """Whether it is about a worker, and not what loading a sample has raised."""
        if self.num_workers == 0 or "in DataLoader worker process" in str(error):
            return False
        return isinstance(error, _LOST) or any(words in str(error) for words in _DEATH)

    def _explain(self, error: Exception) -> str:
        return (
            f"A data loading worker died, which as a rule means that memory ran out: {error}\n"
            f"Lower num_workers (now {self.num_workers}) or the batch size; in a container give "
            "more shared memory (docker run --shm-size=8g). num_workers=0 loads in the main "
            "process and shows an error where it happens."
        )


def build_train_loader(
    dataset: DetectionDataset,
    batch_size: int,
    num_workers: int = 2,
    group_by_aspect: bool = True,
    masks: Literal["bitmaps", "lazy"] | None = None,
    size_divisor: int = 32,
    pad_size: tuple[int, int] | None = None,
    start_iteration: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DetectionLoader:
    """An endless loader for training; order, transforms and keys follow the data set's seed.

    Args:
        dataset: what to load from.
        batch_size: images a process and step.
        num_workers: worker processes.
        group_by_aspect: put images of like orientation together.
        masks: see :class:`mmdet_lite.data.collate.Collate`.
        size_divisor: padded heights and widths are multiples of it.
        pad_size: (width, height) in pixels that every batch has at least.
        start_iteration: the step to begin with.
        rank: this process.
        world_size: number of processes.
    """
    sampler = TrainBatchSampler(
        dataset.image_sizes,
        batch_size,
        dataset.seed,
        rank=rank,
        world_size=world_size,
        group_by_aspect=group_by_aspect,
        start_iteration=start_iteration,
    )
    collate = Collate(size_divisor, masks, pad_size)
    return DetectionLoader(dataset, sampler, collate, num_workers)


def build_eval_loader(
    dataset: DetectionDataset,
    batch_size: int = 1,
    num_workers: int = 2,
    masks: Literal["bitmaps", "lazy"] | None = None,
    size_divisor: int = 32,
    rank: int = 0,
    world_size: int = 1,
) -> DetectionLoader:
    """A loader that yields every image once, in order; arguments as for training."""
    sampler = EvalBatchSampler(len(dataset), batch_size, rank, world_size)
    return DetectionLoader(dataset, sampler, Collate(size_divisor, masks), num_workers)


@contextmanager
def _child_handler(handler: Callable | None = None) -> Iterator[None]:
    """Handle the death of a worker so, and as before afterwards.

    torch's own handler would raise its error wherever the main process is, in the midst of a
    training step. Here that happens only while a batch is waited for, where it is of use: a worker
    that dies over a batch may leave a part of it behind, whose rest would be waited for for ever.
    """
    if _SIGCHLD is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(_SIGCHLD)
    if handler is not None:
        signal.signal(_SIGCHLD, handler)
    try:
        yield
    finally:
        signal.signal(_SIGCHLD, previous)


def _init_worker(worker_id: int) -> None:
    # The trainer's handlers are not for workers: SIGTERM must end them, as it does at the exit of
    # the main process, and a cluster's SIGUSR1 must not.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    cv2.setNumThreads(0)  # the workers are the parallelism
