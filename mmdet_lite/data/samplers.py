"""Which images make up which batch.

Letters: N images of the data set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from mmdet_lite.data.rng import ORDER, generator
from mmdet_lite.data.sample import SampleRef


class TrainBatchSampler(Sampler[list[SampleRef]]):
    """Endless batches; the global batch of a step depends on the seed and the step only.

    An epoch shows every image once. Global batches hold either wide or tall images, which saves
    padding; what is left of both groups makes up the epoch's last batches, and the very last is
    filled up from the epoch's beginning.

    Args:
        image_sizes: (N, 2) (height, width).
        batch_size: images a process and step.
        seed: the run's seed.
        rank: this process, 0..world_size-1; it takes its part of every global batch.
        world_size: number of processes.
        group_by_aspect: put images of like orientation together.
        start_iteration: the step to begin with.
        shuffle: draw a new order every epoch; else images come in the data set's order.

    Raises:
        ValueError: there are no images, or the batch size is not positive.
    """

    def __init__(
        self,
        image_sizes: np.ndarray,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        group_by_aspect: bool = True,
        start_iteration: int = 0,
        shuffle: bool = True,
    ):
        if len(image_sizes) == 0:
            raise ValueError("cannot train: the data set has no images")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        wide = image_sizes[:, 1] >= image_sizes[:, 0]
        self.is_wide = wide if group_by_aspect else np.ones_like(wide)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.global_batch_size = batch_size * world_size
        self.start_iteration = start_iteration
        self.shuffle = shuffle
        self.offset = 0  # batches to leave out at the start

    @property
    def iterations_per_epoch(self) -> int:
        """Steps in which every image is shown once."""
        return -(-len(self.is_wide) // self.global_batch_size)

    def __iter__(self) -> Iterator[list[SampleRef]]:
        iteration = self.start_iteration + self.offset
        while True:
            epoch, first_step = divmod(iteration, self.iterations_per_epoch)
            order = self.epoch_order(epoch)
            for step in range(first_step, self.iterations_per_epoch):
                yield self._local_batch(order, step, epoch, iteration)
                iteration += 1

    def epoch_order(self, epoch: int) -> np.ndarray:
        """Indices of the epoch's global batches one after another, every image at least once.

        Returns:
            (iterations_per_epoch * global_batch_size,) int64.
        """
        rng = generator(ORDER, self.seed, epoch)
        order = np.arange(len(self.is_wide))
        if self.shuffle:
            order = rng.permutation(order)
        full, rest = [], []
        for group in (order[self.is_wide[order]], order[~self.is_wide[order]]):
            count = len(group) // self.global_batch_size * self.global_batch_size
            full.append(group[:count].reshape(-1, self.global_batch_size))
            rest.append(group[count:])
        batches = np.concatenate(full)
        if self.shuffle:
            batches = rng.permutation(batches)
        order = np.concatenate([batches.reshape(-1), *rest])
        return np.resize(order, self.iterations_per_epoch * self.global_batch_size)

    def _local_batch(
        self, order: np.ndarray, step: int, epoch: int, iteration: int
    ) -> list[SampleRef]:
        first = self.rank * self.batch_size
        slots = range(first, first + self.batch_size)
        indices = order[step * self.global_batch_size :][first : first + self.batch_size].tolist()
        return [
            SampleRef(index, epoch, iteration, slot)
            for index, slot in zip(indices, slots, strict=True)
        ]


class EvalBatchSampler(Sampler[list[SampleRef]]):
    """Every image exactly once over all processes, in the data set's order.

    Processes share whole batches, so that which images are padded together, and with it the last
    digits of their detections, does not depend on the number of processes.

    Args:
        num_images: size of the data set.
        batch_size: images a batch; the last one may be smaller.
        rank: this process; it takes the batches ``rank, rank + world_size, ...``.
        world_size: number of processes.
    """

    def __init__(self, num_images: int, batch_size: int, rank: int = 0, world_size: int = 1):
        self.num_images = num_images
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.offset = 0  # batches to leave out at the start

    @property
    def most_batches(self) -> int:
        """Batches of the process that has the most."""
        return -(-self._num_batches // self.world_size)

    @property
    def _num_batches(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __len__(self) -> int:
        return len(range(self.rank, self._num_batches, self.world_size))

    def __iter__(self) -> Iterator[list[SampleRef]]:
        batches = range(self.rank, self._num_batches, self.world_size)
        for iteration, batch in list(enumerate(batches))[self.offset :]:
            start = batch * self.batch_size
            indices = range(start, min(start + self.batch_size, self.num_images))
            yield [SampleRef(index, 0, iteration, slot) for slot, index in enumerate(indices)]
