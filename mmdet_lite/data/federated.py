"""What LVIS says beyond COCO: which categories an image was searched for, and how frequent each is.

Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


class Federated:
    """LVIS's lists of all images in flat arrays, so that forked workers share them.

    Args:
        images: N records of the annotation file.
        categories: K records, by label.
    """

    def __init__(self, images: Sequence[dict], categories: Sequence[dict]):
        self._frequencies = [category.get("frequency") for category in categories]
        self._lists = {}
        for key in _LISTS:
            values = [image.get(key, ()) for image in images]
            offsets = np.cumsum([0, *map(len, values)])
            flat = np.fromiter(chain.from_iterable(values), np.int64, offsets[-1])
            self._lists[key] = (offsets, flat)

    def of_image(self, row: int) -> dict[str, list[int]]:
        """The lists of an image, for its record."""
        return {
            key: flat[slice(*offsets[row : row + 2])].tolist()
            for key, (offsets, flat) in self._lists.items()
        }

    def of_category(self, label: int) -> dict[str, Any]:
        """The frequency of a class ('r', 'c' or 'f'), for its record."""
        frequency = self._frequencies[label]
        return {} if frequency is None else {"frequency": frequency}


def is_federated(images: Sequence[dict]) -> bool:
    """Whether images have LVIS's lists."""
    return any(key in image for image in images[:1] for key in _LISTS)
