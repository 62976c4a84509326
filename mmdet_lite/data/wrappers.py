"""Data sets made of others: their images repeated, or those of several one after another.

Letters: N images of the whole, K classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.pipeline import Transform
from mmdet_lite.data.sample import Sample
from mmdet_lite.registry import DATASETS


class WrappedDataset(DetectionDataset):
    """Images of other data sets, each as often and in that order as ``which`` and ``rows`` say.

    An image is transformed by its own data set's pipeline, with random numbers made of its index
    here: so one that comes twice is augmented twice, and partners may be of any of the data sets.

    Args:
        datasets: one or more, of the same classes.
        which: (N,) which of them each image is from.
        rows: (N,) its index there.
        seed: the run's seed; that of the data sets has no effect.
    """

    def __init__(
        self,
        datasets: Sequence[DetectionDataset],
        which: np.ndarray,
        rows: np.ndarray,
        seed: int,
    ):
        super().__init__(datasets[0].classes, datasets[0].category_ids, seed=seed)
        self.datasets = list(datasets)
        self.which = which
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_sizes(self) -> np.ndarray:
        """(N, 2) int64 (height, width)."""
        sizes = [dataset.image_sizes for dataset in self.datasets]
        before = np.array([0, *accumulate(map(len, sizes))])
        return np.concatenate(sizes)[before[self.which] + self.rows]

    def load(self, index: int) -> Sample:
        """Read one image with its annotations, before any transform."""
        dataset, row = self._find(index)
        return replace(dataset.load(row), index=index)

    def labels_of(self, index: int) -> np.ndarray:
        """(n,) labels of one image's objects."""
        dataset, row = self._find(index)
        return dataset.labels_of(row)

    def image_id_of(self, index: int) -> int:
        """One image's id in the data set that it is from."""
        dataset, row = self._find(index)
        return dataset.image_id_of(row)

    def transforms_of(self, index: int) -> Sequence[Transform]:
        """The pipeline of the data set that an image is from."""
        dataset, row = self._find(index)
        return dataset.transforms_of(row)

    def coco_dict(self) -> dict[str, Any]:
        """The ground truth of all data sets together, with the first one's category ids.

        Raises:
            ValueError: an image comes more than once, or two have the same id.
        """
        parts = [self._own_categories(dataset.coco_dict(), dataset) for dataset in self.datasets]
        images = [image for part in parts for image in part["images"]]
        repeated = [key for key, n in Counter(image["id"] for image in images).items() if n > 1]
        if repeated:
            raise ValueError(
                f"{type(self).__name__} cannot be evaluated: {len(repeated)} image ids are those "
                f"of several images, {repeated[:10]} for example. Evaluate one data set at a time"
            )
        if len(images) != len(self):
            raise ValueError(
                f"{type(self).__name__} cannot be evaluated: it shows {len(images)} images "
                f"{len(self)} times. Put the data set in it into val_data and test_data"
            )
        annotations = [annotation for part in parts for annotation in part["annotations"]]
        return {
            "images": images,
            "annotations": annotations,
            "categories": parts[0]["categories"],
        }

    def _find(self, index: int) -> tuple[DetectionDataset, int]:
        return self.datasets[self.which[index]], int(self.rows[index])

    def _own_categories(self, content: dict[str, Any], dataset: DetectionDataset) -> dict[str, Any]:
        ours = dict(zip(dataset.category_ids, self.category_ids, strict=True))
        annotations = [a | {"category_id": ours[a["category_id"]]} for a in content["annotations"]]
        return content | {"annotations": annotations}


@DATASETS.register_module()
class RepeatDataset(WrappedDataset):
    """A data set several times over, which makes an epoch longer.

    Args:
        dataset: the data set.
        times: how often, 1 or more.
        seed: the run's seed.

    Raises:
        ValueError: ``times`` is not a whole number from 1 on.
    """

    def __init__(self, dataset: DetectionDataset, times: int, seed: int = 0):
        if type(times) is not int or times < 1:
            raise ValueError(f"RepeatDataset: times must be a whole number from 1 on, got {times}")
        rows = np.tile(np.arange(len(dataset)), times)
        super().__init__([dataset], np.zeros_like(rows), rows, seed)


@DATASETS.register_module()
class ConcatDataset(WrappedDataset):
    """Several data sets of the same classes one after another.

    Args:
        datasets: the data sets; labels are by name, so their category ids may differ.
        seed: the run's seed.

    Raises:
        ValueError: there is none, or their class names or the order of them differ.
    """

    def __init__(self, datasets: Sequence[DetectionDataset], seed: int = 0):
        if not datasets:
            raise ValueError("ConcatDataset: datasets is empty, give at least one")
        for number, dataset in enumerate(datasets):
            if dataset.classes != datasets[0].classes:
                raise ValueError(
                    f"ConcatDataset: the classes of data set 0 are {list(datasets[0].classes)}, "
                    f"but those of data set {number} are {list(dataset.classes)}; labels would "
                    "mean other classes. Choose the same, in the same order, with metainfo.classes"
                )
        lengths = [len(dataset) for dataset in datasets]
        which = np.repeat(np.arange(len(datasets)), lengths)
        rows = np.concatenate([np.arange(length) for length in lengths])
        super().__init__(datasets, which, rows, seed)


@DATASETS.register_module()
class ClassBalancedDataset(WrappedDataset):
    """Images of rare classes repeated, as in LVIS, https://arxiv.org/abs/1908.03195, appendix B.

    With f the share of the images that a class is in, its repeat factor is
    max(1, sqrt(oversample_thr / f)). An image comes as often as the largest factor of its classes
    says, rounded up; one without objects comes once.

    Args:
        dataset: the data set.
        oversample_thr: share of the images, in 0..1, below which a class is rare.
        seed: the run's seed.

    Raises:
        ValueError: ``oversample_thr`` is not between 0 and 1.
    """

    def __init__(self, dataset: DetectionDataset, oversample_thr: float, seed: int = 0):
        if not 0 <= oversample_thr <= 1:
            raise ValueError(
                "ClassBalancedDataset: oversample_thr must be a share of the images between 0 and "
                f"1, got {oversample_thr}"
            )
        factors = _repeat_factors(dataset, oversample_thr)
        rows = np.repeat(np.arange(len(dataset)), [math.ceil(factor) for factor in factors])
        super().__init__([dataset], np.zeros_like(rows), rows, seed)


def _repeat_factors(dataset: DetectionDataset, threshold: float) -> list[float]:
    """How often each image should come, 1 or more."""
    classes = [np.unique(dataset.labels_of(index)) for index in range(len(dataset))]
    num_images = np.bincount(
        np.concatenate([np.zeros(0, dtype=np.int64), *classes]), minlength=len(dataset.classes)
    )
    shares = np.maximum(num_images, 1) / max(len(dataset), 1)  # a class without images repeats none
    of_class = np.maximum(1, np.sqrt(threshold / shares))
    return [of_class[present].max(initial=1) for present in classes]
