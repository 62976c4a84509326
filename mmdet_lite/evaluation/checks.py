"""What must hold for detections and ground truth to be compared; each check lists all problems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

import numpy as np

from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.structures.samples import ImageMeta


def check_masks(annotations: Sequence[dict]) -> None:
    """Every annotation has a mask.

    Raises:
        ValueError: some have none; their ids are named.
    """
    lacking = [annotation["id"] for annotation in annotations if not annotation.get("segmentation")]
    if lacking:
        raise ValueError(
            f"metric 'segm' needs a mask for every object, but {len(lacking)} of "
            f"{len(annotations)} annotations have no 'segmentation' (annotation ids "
            f"{_shorten(lacking)}). Add the masks, or evaluate without them: metrics=('bbox',)"
        )


def check_metas(metas: Sequence[ImageMeta], image_ids: Set[int]) -> None:
    """The images of a batch are those of the ground truth, and the right way round.

    Raises:
        ValueError: an image is unknown or flipped.
    """
    problems = [
        f"image id {meta.image_id} ({meta.file}) is not in the ground truth, which has "
        f"{len(image_ids)} images; was the metric prepared with the data set that is evaluated?"
        for meta in metas
        if meta.image_id not in image_ids
    ]
    problems += [
        f"image id {meta.image_id} ({meta.file}) was flipped ({meta.flip}), so its detections are "
        "not where the ground truth is; take the flip out of the evaluation's pipeline"
        for meta in metas
        if meta.flip
    ]
    _raise_all(problems)


def check_results(results: CocoResults, classes: Sequence[str]) -> None:
    """Detections are finite and their labels are classes of the data set.

    Raises:
        ValueError: some are not.
    """
    problems = []
    bad = ~(np.isfinite(results.scores) & np.isfinite(results.boxes_xywh).all(axis=1))
    if bad.any():
        problems.append(
            f"{np.count_nonzero(bad)} of {len(results)} detections have a NaN or infinite score or "
            f"box (image ids {_shorten(results.image_ids[bad])}); has the training diverged?"
        )
    num_classes = len(classes)
    if len(results) and results.labels.max() >= num_classes:
        problems.append(
            f"the model predicts label {results.labels.max()}, but the data set has {num_classes} "
            f"classes, labels 0 to {num_classes - 1}: {_shorten(classes)}. Set num_classes="
            f"{num_classes} in the model's heads, or evaluate with the classes it was trained on"
        )
    _raise_all(problems)


def check_complete(seen: np.ndarray, image_ids: Set[int]) -> None:
    """Every image of the data set was processed, and once.

    Raises:
        ValueError: images are missing or repeated.
    """
    problems = []
    missing = sorted(image_ids - set(seen.tolist()))
    if missing:
        problems.append(
            f"{len(missing)} of the data set's {len(image_ids)} images were not processed (image "
            f"ids {_shorten(missing)}); every image counts, also where nothing is detected"
        )
    ids, counts = np.unique(seen, return_counts=True)
    repeated = ids[counts > 1]
    if len(repeated):
        problems.append(
            f"{len(repeated)} images were processed more than once (image ids "
            f"{_shorten(repeated)}); call reset() before an evaluation, and share the images "
            "among processes without padding"
        )
    _raise_all(problems)


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))


def _shorten(values: Iterable, shown: int = 10) -> str:
    distinct = list(dict.fromkeys(map(str, values)))
    more = f" and {len(distinct) - shown} more" if len(distinct) > shown else ""
    return ", ".join(distinct[:shown]) + more
