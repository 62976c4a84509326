"""Precision over recall, small enough for a page.

Letters: K classes, T IoU thresholds, R recall thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_lite.evaluation.coco_eval import NO_SUCH_OBJECTS, by_label_curves

_STEPS = 1000  # of precision: three digits


def pr_curves(precision: np.ndarray, category_ids: Sequence[int]) -> list[list[list[int]] | None]:
    """COCO's interpolated precision at its 101 recalls, in thousandths.

    Args:
        precision: (T, R, K, A, M) from :func:`mmdet_lite.evaluation.coco_eval.evaluate`.
        category_ids: the data set's category id of each label.

    Returns:
        K entries by label, then all classes together (the mean over those that have objects): T
        lists, cut after the last value that is not 0; None without objects.
    """
    curves = by_label_curves(precision, category_ids)[..., 0]  # (K, T, R)
    has_objects = (curves > NO_SUCH_OBJECTS).any(axis=(1, 2))
    entries = [
        _thin(curve) if has else None for curve, has in zip(curves, has_objects, strict=True)
    ]
    return [*entries, _thin(curves[has_objects].mean(axis=0)) if has_objects.any() else None]


def _thin(curve: np.ndarray) -> list[list[int]]:
    thousandths = np.round(curve * _STEPS).astype(int)
    return [np.trim_zeros(row, "b").tolist() for row in thousandths]
