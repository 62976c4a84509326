"""Evaluation against pycocotools: COCO's figures of boxes, and masks on their way to RLE.

Both have the same detections in memory; what a file takes to be read is not counted.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_lite.benchmarks.evaluation_inputs import (
    EvaluationSize,
    NoObjects,
    RandomObjects,
    random_masks,
    random_results,
)
from mmdet_lite.benchmarks.rows import Row, take_turns, time_row
from mmdet_lite.evaluation import CocoMetric
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.structures.pasting import paste_masks
from mmdet_lite.structures.samples import Detections, ImageMeta

_DISTINCT_IMAGES = 25  # whose pasted masks are kept: 150 MB of 480 x 640 pixels, 20 masks each
_FIGURES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_FIGURES += ("AR@1", "AR@10", "AR@100", "AR_s@100", "AR_m@100", "AR_l@100")


def benchmark_evaluation(
    size: EvaluationSize, rounds: int = 3, box_rounds: int = 1, seed: int = 0
) -> list[Row]:
    """Time the evaluation of boxes and the encoding of masks, and check the results.

    Args:
        size: how much.
        rounds: turns of the encoding, after one for warm-up.
        box_rounds: turns of the evaluation of boxes, without warm-up: pycocotools takes long.
        seed: of everything.

    Returns:
        One row each.

    Raises:
        AssertionError: figures or encoded masks differ from pycocotools'.
    """
    rng = np.random.default_rng(seed)
    return [_boxes_row(size, rng, box_rounds), _masks_row(size, rng, rounds)]


def _boxes_row(size: EvaluationSize, rng: np.random.Generator, rounds: int) -> Row:
    objects = RandomObjects(size, rng)
    results = random_results(objects, size, rng)
    metric = CocoMetric(("bbox",))
    metric.prepare(objects)
    truth = _pycocotools_truth(objects.coco_dict())
    entries = _result_entries(results, objects.category_ids)
    figures: dict[str, list[float]] = {}

    def ours() -> None:
        values = metric.compute(results)
        figures["ours"] = [values[f"bbox_{name}"] for name in _FIGURES]

    def peer() -> None:
        figures["peer"] = _pycocotools_figures(truth, entries)

    seconds = take_turns({"ours": ours, "peer": peer}, rounds, warmup=0)
    np.testing.assert_allclose(figures["ours"], figures["peer"], rtol=0, atol=1e-9)
    case = f"COCO's figures of {size.images} x {size.detections} boxes"
    return time_row(case, seconds["ours"], seconds["peer"], "pycocotools", asdict(size))


def _pycocotools_truth(tables: dict) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = tables
        truth.createIndex()
    return truth


def _result_entries(results: CocoResults, category_ids: Sequence[int]) -> list[dict]:
    """What pycocotools reads from a file."""
    rows = zip(
        results.image_ids.tolist(),
        results.labels.tolist(),
        results.scores.tolist(),
        results.boxes_xywh.tolist(),
        strict=True,
    )
    return [
        {"image_id": image, "category_id": category_ids[label], "score": score, "bbox": box}
        for image, label, score, box in rows
    ]


def _pycocotools_figures(truth: COCO, entries: list[dict]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        # It adds to the entries; copies come out of a file anyway.
        found = truth.loadRes([dict(entry) for entry in entries])
        evaluator = COCOeval(truth, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats.tolist()


def _masks_row(size: EvaluationSize, rng: np.random.Generator, rounds: int) -> Row:
    metric = CocoMetric(("segm",))
    metric.prepare(NoObjects(size))
    distinct = [random_masks(size, rng) for _ in range(min(size.images, _DISTINCT_IMAGES))]
    ours, peer = _encoders(metric, distinct, size)
    assert ours(len(distinct)) == peer(len(distinct)), "the encoded masks differ"
    contenders = {"ours": lambda: ours(size.images), "peer": lambda: peer(size.images)}
    seconds = take_turns(contenders, rounds)
    case = f"{size.images} x {size.masks} masks pasted and encoded"
    peer_name = "pycocotools, encoding only"
    return time_row(case, seconds["ours"], seconds["peer"], peer_name, asdict(size))


def _encoders(
    metric: CocoMetric, distinct: Sequence[Detections], size: EvaluationSize
) -> tuple[Callable[[int], list[bytes]], Callable[[int], list[bytes]]]:
    """Ours and pycocotools': each takes a number of images, for which the distinct ones recur."""
    shape = (size.height, size.width)
    pasted = [
        paste_masks(each.masks[0], each.boxes[0], shape).numpy().astype(np.uint8)
        for each in distinct
    ]
    by_columns = [np.asfortranarray(masks.transpose(1, 2, 0)) for masks in pasted]

    def ours(count: int) -> list[bytes]:
        metric.reset()
        for index in range(count):
            meta = ImageMeta(index, "", index, index, shape, shape)
            metric.process(distinct[index % len(distinct)], [meta])
        return metric.results().rles

    def peer(count: int) -> list[bytes]:
        images = (by_columns[index % len(distinct)] for index in range(count))
        return [rle["counts"] for masks in images for rle in coco_mask.encode(masks)]

    return ours, peer
