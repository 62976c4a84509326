"""A part of another data set: the images with some classes, or a share of all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.wrappers import WrappedDataset
from mmdet_lite.random_keys import combine
from mmdet_lite.registry import DATASETS

logger = logging.getLogger("mmdet_lite")


@DATASETS.register_module()
class SubsetDataset(WrappedDataset):
    """Some images of a data set, in its order; classes and labels stay those of the whole.

    Which images a fraction takes depends on their ids and ``subset_seed`` only, not on the run's
    seed or the order of the file. A smaller fraction is a part of every larger one.

    Args:
        dataset: the data set.
        classes: take the images that have an object of one of these classes; None: all images.
            Crowds do not count as objects.
        other_objects: what becomes of the objects of other classes in them: 'keep' them, or 'drop'
            them. A model that learns all classes learns that dropped objects are background.
        fraction: of the images that ``classes`` leaves, take so large a share, above 0 and up to 1,
            rounded to whole images and one at least; None: all.
        subset_seed: another one takes other images.
        seed: the run's seed.

    Raises:
        ValueError: a class is unknown, no image has one, or an argument is wrong.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        classes: Sequence[str] | None = None,
        other_objects: Literal["keep", "drop"] = "keep",
        fraction: float | None = None,
        subset_seed: int = 0,
        seed: int = 0,
    ):
        _check_arguments(classes, other_objects, fraction)
        self.labels = None if classes is None else _labels_of_classes(classes, dataset)
        self.drops_others = other_objects == "drop"
        rows = np.arange(len(dataset))
        if self.labels is not None:
            rows = rows[_have_one_of(dataset, self.labels)]
            if not len(rows):
                raise ValueError(
                    f"SubsetDataset: none of {len(dataset)} images has an object of the classes "
                    f"{list(classes)}; choose others of {list(dataset.classes)}"
                )
        if fraction is not None:
            rows = _draw_fraction(dataset, rows, fraction, subset_seed)
        super().__init__([dataset], np.zeros_like(rows), rows, seed)
        logger.info("SubsetDataset: %d of %d images", len(rows), len(dataset))

    def load(self, index: int) -> Sample:
        """Read one image with its annotations, before any transform."""
        sample = super().load(index)
        return sample.select(self._are_kept(sample.labels))

    def labels_of(self, index: int) -> np.ndarray:
        """(n,) labels of one image's objects."""
        labels = super().labels_of(index)
        return labels[self._are_kept(labels)]

    def coco_dict(self) -> dict[str, Any]:
        """The ground truth of these images, with the objects that are kept and all categories.

        Raises:
            ValueError: an image of the whole comes more than once, or two have the same id.
        """
        content = self.datasets[0].coco_dict()
        ids = {self.image_id_of(index) for index in range(len(self))}
        labels = range(len(self.classes)) if not self.drops_others else self.labels
        categories = {self.category_ids[label] for label in labels}
        return content | {
            "images": [image for image in content["images"] if image["id"] in ids],
            "annotations": [
                annotation
                for annotation in content["annotations"]
                if annotation["image_id"] in ids and annotation["category_id"] in categories
            ],
        }

    def _are_kept(self, labels: np.ndarray) -> np.ndarray:
        if not self.drops_others:
            return np.ones(len(labels), dtype=bool)
        return np.isin(labels, self.labels)


def _check_arguments(
    classes: Sequence[str] | None, other_objects: str, fraction: float | None
) -> None:
    if classes is None and fraction is None:
        raise ValueError("SubsetDataset: give classes, fraction or both; it has neither")
    if isinstance(classes, str):
        raise ValueError(f"SubsetDataset: classes must be a list of names: write [{classes!r}]")
    if classes is not None and not classes:
        raise ValueError("SubsetDataset: classes is empty, give at least one name or leave it out")
    if other_objects not in ("keep", "drop"):
        raise ValueError(
            f"SubsetDataset: other_objects must be 'keep' or 'drop', got {other_objects!r}"
        )
    if classes is None and other_objects == "drop":
        raise ValueError("SubsetDataset: other_objects='drop' needs classes: which ones to keep")
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"SubsetDataset: fraction must be above 0 and up to 1, got {fraction}")


def _labels_of_classes(classes: Sequence[str], dataset: DetectionDataset) -> list[int]:
    if unknown := [name for name in classes if name not in dataset.classes]:
        raise ValueError(
            f"SubsetDataset: the data set has no classes {unknown}; it has {list(dataset.classes)}"
        )
    return [dataset.classes.index(name) for name in classes]


def _have_one_of(dataset: DetectionDataset, labels: Sequence[int]) -> np.ndarray:
    """(N,) bool, which images have an object with one of the labels."""
    found = [np.isin(dataset.labels_of(row), labels).any() for row in range(len(dataset))]
    return np.array(found, dtype=bool)


def _draw_fraction(
    dataset: DetectionDataset, rows: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """The first images in the order of a hash of their ids; back in the order of the data set."""
    key = combine(0, seed)
    keys = [combine(key, dataset.image_id_of(row)) for row in rows.tolist()]
    order = np.argsort(keys, kind="stable")
    count = max(1, round(fraction * len(rows)))
    return rows[np.sort(order[:count])]
