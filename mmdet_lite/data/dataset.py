"""What every detection data set offers: samples by reference, and its ground truth as COCO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmdet_lite.data.pipeline import Transform, run_pipeline
from mmdet_lite.data.rng import AUGMENTATION, generator
from mmdet_lite.data.sample import Sample, SampleRef
from mmdet_lite.random_keys import image_key


class DetectionDataset(Dataset):
    """Base class. Loading an image and its annotations is ``load``; the pipeline only changes them.

    A sample is a function of ``(seed, epoch, index)``: all transforms draw from one generator
    that is made from these three, in whatever process and order the sample is asked for. What other
    images take part in it is drawn from the same generator. A transform may also go by the
    iteration that the sample is for, as :class:`mmdet_lite.data.pipeline.UntilIteration` does.

    Args:
        classes: K names; label ``k`` means ``classes[k]``.
        category_ids: K ids by which the annotation file knows these classes.
        pipeline: transforms, called in order as ``transform(sample, rng)``; or, if they mix images,
            see :class:`mmdet_lite.data.pipeline.MixingTransform`.
        seed: the run's seed, 0 or larger.

    Raises:
        ValueError: ``seed`` is negative.
    """

    def __init__(
        self,
        classes: Sequence[str],
        category_ids: Sequence[int],
        pipeline: Sequence[Transform] = (),
        seed: int = 0,
    ):
        if seed < 0:
            raise ValueError(f"{type(self).__name__}: seed must be 0 or larger, got {seed}")
        self.classes = tuple(classes)
        self.category_ids = tuple(category_ids)
        self.pipeline = list(pipeline)
        self.seed = seed

    def __len__(self) -> int:
        raise NotImplementedError

    def load(self, index: int) -> Sample:
        """Read one image with its annotations, before any transform."""
        raise NotImplementedError

    @property
    def image_sizes(self) -> np.ndarray:
        """(N, 2) int64 (height, width) of all images as loaded."""
        raise NotImplementedError

    def labels_of(self, index: int) -> np.ndarray:
        """(n,) labels of one image's objects; a data set that knows them need not load it."""
        return self.load(index).labels

    def image_id_of(self, index: int) -> int:
        """One image's id; a data set that knows it need not load the image."""
        return self.load(index).image_id

    def transforms_of(self, index: int) -> Sequence[Transform]:
        """The transforms that one image goes through."""
        return self.pipeline

    def coco_dict(self) -> dict[str, Any]:
        """The ground truth in COCO's format with the file's own ids, as an evaluation needs it."""
        raise NotImplementedError

    def __getitem__(self, ref: SampleRef | int) -> Sample:
        """Load and transform one sample; a plain index means epoch 0, iteration 0, slot 0.

        Raises:
            IndexError: the index is outside the data set.
            TypeError: a transform returned something else than a Sample.
        """
        ref = ref if isinstance(ref, SampleRef) else SampleRef(int(ref))
        if not 0 <= ref.index < len(self):
            raise IndexError(f"index {ref.index} of a data set of {len(self)} images")
        return self.transform(self.load(ref.index), ref, self.transforms_of(ref.index))

    def transform(self, sample: Sample, ref: SampleRef, pipeline: Sequence[Transform]) -> Sample:
        """Put a loaded sample through a pipeline.

        Args:
            sample: as loaded; it is not changed.
            ref: what was asked for; what is random depends on it and on the seed only.
            pipeline: the data set's own, or another.

        Raises:
            TypeError: a transform returned something else than a Sample.
        """
        rng = generator(AUGMENTATION, self.seed, ref.epoch, ref.index)

        def place(loaded: Sample) -> Sample:
            return replace(loaded, epoch=ref.epoch, iteration=ref.iteration)

        def draw_partner() -> Sample:
            return place(self.load(int(rng.integers(len(self)))))

        sample = run_pipeline(pipeline, place(sample), rng, draw_partner)
        return replace(sample, slot=ref.slot, key=image_key(self.seed, ref.iteration, ref.slot))
