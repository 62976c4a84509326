"""What LVIS says beyond COCO: which categories an image was searched for, and how frequent each is.

Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.problems import show

_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


class Federated:
    """LVIS's lists of all images in flat arrays, so that forked workers share them.

    Args:
        content: COCO's dict of N images, which is sound but for LVIS's own fields.
        category_ids: K ids, by label.

    Raises:
        ValueError: a field of an image is no list of category ids.
    """

    def __init__(self, content: CocoDict, category_ids: Sequence[int]):
        frequencies = {c["id"]: c.get("frequency") for c in content["categories"]}
        self._frequencies = [frequencies[key] for key in category_ids]
        self._lists = {}
        for key in _LISTS:
            values = [_read_ids(image, key) for image in content["images"]]
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


def _read_ids(image: dict, key: str) -> list[int]:
    ids = image.get(key, [])
    if not isinstance(ids, list) or not all(type(one) is int for one in ids):
        raise ValueError(
            f"image {image['id']}: {key} is {show(ids)}, expected a list of category ids"
        )
    return ids


def is_federated(images: Sequence[dict]) -> bool:
    """Whether images have LVIS's lists."""
    return any(key in image for image in images[:1] for key in _LISTS)
