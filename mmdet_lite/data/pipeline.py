"""Running transforms one after another, also those that need other images of the data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mmdet_lite.data.sample import Sample
from mmdet_lite.registry import TRANSFORMS

DrawSample = Callable[[], Sample]


class MixingTransform:
    """Base class of transforms that put other images of the data set, partners, into a sample."""

    def __call__(
        self, sample: Sample, rng: np.random.Generator, draw_partner: DrawSample
    ) -> Sample:
        """Change a sample.

        Args:
            sample: the image.
            rng: where everything random is drawn from.
            draw_partner: each call gives a random image of the whole data set, after the
                transforms that stand before this one.
        """
        raise NotImplementedError


Transform = Callable[[Sample, np.random.Generator], Sample] | MixingTransform


def run_pipeline(
    transforms: Sequence[Transform],
    sample: Sample,
    rng: np.random.Generator,
    draw_partner: DrawSample,
) -> Sample:
    """Apply transforms in their order.

    Partners go through the transforms before the one that asks for them, which are fewer with
    every level of mixing; so this ends, also where several transforms mix.

    Args:
        transforms: to apply.
        sample: the image.
        rng: what all of them draw from, for partners too.
        draw_partner: gives another image as it comes to the first of the transforms.

    Raises:
        TypeError: a transform returned something else than a Sample.
    """
    for place, transform in enumerate(transforms):
        if isinstance(transform, MixingTransform):
            before = transforms[:place]

            def draw(before: Sequence[Transform] = before) -> Sample:
                return run_pipeline(before, draw_partner(), rng, draw_partner)

            sample = _check(transform(sample, rng, draw), transform)
        else:
            sample = _check(transform(sample, rng), transform)
    return sample


def walk(transforms: Sequence[Transform]) -> Iterator[Transform]:
    """All transforms of a pipeline, those in the branches of others too."""
    for transform in transforms:
        yield transform
        for branch in getattr(transform, "branches", ()):
            yield from walk(branch)


@TRANSFORMS.register_module()
class RandomChoice(MixingTransform):
    """Apply one of several lists of transforms, which may be empty.

    Args:
        transforms: the lists to choose from.
        prob: the probability of each; None: all are as likely.

    Raises:
        ValueError: there is no list, or ``prob`` is not one probability a list, of sum 1.
    """

    def __init__(
        self, transforms: Sequence[Sequence[Transform]], prob: Sequence[float] | None = None
    ):
        if not transforms or not all(isinstance(branch, (list, tuple)) for branch in transforms):
            raise ValueError(
                f"RandomChoice: transforms must be lists to choose from, got {transforms!r}"
            )
        if prob is not None and not _are_probabilities(prob, len(transforms)):
            raise ValueError(
                f"RandomChoice: prob must be {len(transforms)} numbers from 0 on of sum 1, one a "
                f"list of transforms, got {prob!r}"
            )
        self.branches = [list(branch) for branch in transforms]
        self.prob = None if prob is None else np.array(prob) / sum(prob)

    def __call__(
        self, sample: Sample, rng: np.random.Generator, draw_partner: DrawSample
    ) -> Sample:
        branch = self.branches[rng.choice(len(self.branches), p=self.prob)]
        return run_pipeline(branch, sample, rng, draw_partner)


class Phases(MixingTransform):
    """Base class: one list of transforms at first, and another one later.

    Args:
        end: the first epoch or iteration of the second list.
        transforms, then: the lists.

    Raises:
        ValueError: ``end`` is no whole number from 0 on, or what should be a list is none.
    """

    unit: str  # the sample's attribute that is compared with the end of the first phase

    def __init__(self, end: int, transforms: Sequence[Transform], then: Sequence[Transform]):
        name = type(self).__name__
        if type(end) is not int or end < 0:
            raise ValueError(f"{name}: {self.unit} must be a whole number from 0 on, got {end!r}")
        for key, branch in (("transforms", transforms), ("then", then)):
            if not isinstance(branch, (list, tuple)):
                raise ValueError(f"{name}: {key} must be a list of transforms, got {branch!r}")
        self.end = end
        self.branches = [list(transforms), list(then)]

    def __call__(
        self, sample: Sample, rng: np.random.Generator, draw_partner: DrawSample
    ) -> Sample:
        first, then = self.branches
        branch = first if getattr(sample, self.unit) < self.end else then
        return run_pipeline(branch, sample, rng, draw_partner)


@TRANSFORMS.register_module()
class UntilEpoch(Phases):
    """Transforms up to an epoch, others from it on: no mosaic in the last epochs, for example.

    Args:
        epoch: the first (from 0) in which ``then`` is applied.
        transforms: applied before it; all that they mix in belongs to the same epoch.
        then: applied from it on.

    Raises:
        ValueError: ``epoch`` is no whole number from 0 on, or what should be a list is none.
    """

    unit = "epoch"

    def __init__(self, epoch: int, transforms: Sequence[Transform], then: Sequence[Transform] = ()):
        super().__init__(epoch, transforms, then)


@TRANSFORMS.register_module()
class UntilIteration(Phases):
    """As :class:`UntilEpoch`, for runs that are counted in iterations.

    Args:
        iteration: the first (from 0) whose images ``then`` is applied to.
        transforms: applied before it.
        then: applied from it on.

    Raises:
        ValueError: ``iteration`` is no whole number from 0 on, or what should be a list is none.
    """

    unit = "iteration"

    def __init__(
        self, iteration: int, transforms: Sequence[Transform], then: Sequence[Transform] = ()
    ):
        super().__init__(iteration, transforms, then)


def _are_probabilities(values: Any, count: int) -> bool:
    is_list = isinstance(values, (list, tuple)) and len(values) == count
    return is_list and min(values) >= 0 and abs(sum(values) - 1) < 1e-6


def _check(result: Any, transform: Transform) -> Sample:
    if not isinstance(result, Sample):
        name = getattr(transform, "__name__", type(transform).__name__)
        raise TypeError(f"transform {name} returned {result!r}, expected a Sample")
    return result
