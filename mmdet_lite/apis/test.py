"""Evaluating a model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import (
    build_dataset,
    build_eval,
    build_model,
    choose_device,
    prepare_metric,
    read_path,
)
from mmdet_lite.apis.classes import check_classes, check_same_classes, fill_num_classes
from mmdet_lite.apis.config import read_timeout, require
from mmdet_lite.apis.report import ReportRequest, prepare_report, write_report
from mmdet_lite.apis.tta import build_tta, read_tta
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.loader import DetectionLoader
from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.engine.distributed import from_main, gather_to_main, is_main
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, weights_format
from mmdet_lite.engine.watchdog import Watchdog
from mmdet_lite.engine.weights import class_names, find_weights, load_exactly
from mmdet_lite.evaluation.detection_metric import DetectionMetric
from mmdet_lite.registry import METRICS, build
from mmdet_lite.structures.samples import Detections, ImageMeta, to_device
from mmdet_lite.visualization.draw import save_image
from mmdet_lite.visualization.results import Instances, draw_comparison

logger = logging.getLogger("mmdet_lite")

_BATCHES_PER_CALL = 8  # between two looks at whether to go on; each waits for all processes


def test(
    cfg: Config,
    checkpoint: str | Path,
    out_metrics: str | Path | None = None,
    out: str | Path | None = None,
    show_dir: str | Path | None = None,
    show_num: int = 50,
    show_score_thr: float = 0.3,
    tta: bool = False,
    report_dir: str | Path | None = None,
    compare: str | Path | None = None,
    work_dir: str | Path | None = None,
) -> dict[str, float]:
    """Evaluate a checkpoint on ``test_data``.

    Args:
        cfg: the config.
        checkpoint: weights that fit the model exactly.
        out_metrics: JSON file for the metrics.
        out: prefix of the JSON files for the detections in COCO's results format.
        show_dir: folder for pictures of ground truth beside prediction.
        show_num: how many pictures at most.
        show_score_thr: detections below are not drawn.
        tta: show the model every image in the views of the section ``tta``.
        report_dir: folder for a page about the evaluation, see docs/report.md; images are judged
            at ``show_score_thr``.
        compare: another run for the page, as
            :func:`mmdet_lite.evaluation.other_run.find_files` takes it.
        work_dir: the run whose training curves the page shows; without a log there, that of the
            checkpoint.

    Returns:
        The metrics by name.

    Raises:
        ValueError: the config is incomplete, or checkpoint, model and data do not fit together:
            class names and their order too, where the checkpoint knows them. Or
            ``compare`` is given without ``report_dir``.
    """
    require(cfg, ("model", "test_data", "metric"))
    if compare is not None and report_dir is None:
        raise ValueError(f"--compare {compare}: goes with --report DIR, which it is shown in")
    views = read_tta(cfg) if tta else None
    for path in (out_metrics, out):  # now, and not after the whole evaluation
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
    device = choose_device()
    weights = read_path(checkpoint, "checkpoint")
    content = load_checkpoint(weights)
    dataset = build_dataset(cfg, "test", seed=0)
    metric = build(cfg.metric, METRICS)
    _check_trained_classes(content, dataset, str(checkpoint))
    model = build_model(fill_num_classes(cfg, dataset.classes, "test_data"))
    check_classes(model, dataset, "test")
    load_exactly(model, find_weights(content, str(weights)), str(weights))
    prepare_metric(metric, dataset, model, "test")
    request = None
    if report_dir is not None:
        name, score = Path(cfg.filename or "evaluation").stem, show_score_thr
        request = ReportRequest(report_dir, name, weights, score, compare, work_dir)
        compared_with = prepare_report(request, metric) if is_main() else None
    model = prepare_model(model, cfg, device)
    if views is None:
        loader = build_eval(cfg, dataset, "test")
    else:
        model, loader = build_tta(cfg, views, model, dataset)
    with Watchdog(read_timeout(cfg)) as watchdog:
        metrics = evaluate(
            model, loader, metric, precision_of(cfg), lambda phase: watchdog.phase(phase, 0)
        )
    if not is_main():
        return metrics
    print(metric.table())
    if out_metrics is not None:
        write_json(out_metrics, metrics)
    if out is not None:
        for file in metric.save_json(str(out)):
            logger.info("wrote %s", file)
    if show_dir is not None:
        save_pictures(metric, dataset, show_dir, show_num, show_score_thr)
    if request is not None:
        write_report(request, metric, dataset, compared_with)
    return metrics


def _check_trained_classes(content: dict, dataset: DetectionDataset, source: str) -> None:
    """Compare the data's class names with those of the checkpoint that ``content`` is."""
    trained = class_names(content)
    if trained is None:
        logger.info(
            "%s does not tell its class names: it is taken to be trained on those of test_data",
            source,
        )
    else:
        check_same_classes(trained, dataset, source, "test")


def prepare_model(model: nn.Module, cfg: Config, device: torch.device) -> nn.Module:
    """Move a model to its device, in the memory format that the config asks for."""
    channels_last = (cfg.get("train") or {}).get("channels_last")
    return model.to(device, memory_format=weights_format(channels_last, precision_of(cfg), device))


def precision_of(cfg: Config) -> str:
    """What the config trains in, which is what it is evaluated in."""
    return (cfg.get("train") or {}).get("precision", "float32")


def evaluate(
    model: nn.Module,
    loader: DetectionLoader,
    metric: Any,
    precision: str = "float32",
    enter: Callable[[str], None] = lambda phase: None,
) -> dict[str, float]:
    """Run a model over a loader and measure it; all processes together.

    Args:
        model: on its device; it is left in evaluation mode.
        loader: yields every image once over all processes.
        metric: with its ground truth.
        precision: 'float32', 'bf16' or 'fp16'.
        enter: called with the name of what begins, see :class:`mmdet_lite.engine.run_data.RunData`.

    Returns:
        The metrics, the same on all processes. Only the main one's ``metric`` has the detections.
    """
    model.eval()
    metric.reset()
    for detections, metas in _predict(model, loader, precision, enter):
        metric.process(detections, metas)
    enter("gathering detections")
    parts = gather_to_main(metric.results())
    enter("metrics of the main process")
    return from_main(metric.compute(metric.merge(parts)) if is_main() else None)


@torch.no_grad()
def _predict(
    model: nn.Module, loader: DetectionLoader, precision: str, enter: Callable[[str], None]
) -> Iterator[tuple[Detections, list[ImageMeta]]]:
    """Detections of each batch, on the host."""
    device = next(model.parameters()).device
    dtype = AUTOCAST_DTYPES[precision]
    batches = iter(loader)
    for index in range(loader.batch_sampler.most_batches):
        if index % _BATCHES_PER_CALL == 0:
            enter("validation")
        batch = next(batches, None)
        if batch is None:  # this process has one batch less than others
            continue
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            detections = model(to_device(batch, device))
        yield to_device(detections, "cpu"), batch.metas


def draw_pictures(
    metric: DetectionMetric, dataset: DetectionDataset, num: int, min_score: float = 0.3
) -> Iterator[tuple[int, np.ndarray]]:
    """Draw ground truth beside prediction for images spread evenly over a data set.

    Args:
        metric: after ``evaluate`` on this data set, of the main process.
        dataset: whose images are drawn, in their original size.
        num: how many images at most.
        min_score: detections below are not drawn.

    Yields:
        An image's id, and its picture (H, W, 3) uint8 RGB.
    """
    results = metric.computed
    for index in np.linspace(0, len(dataset) - 1, min(num, len(dataset))).astype(int):
        sample = dataset.load(int(index))
        found = results.select(results.image_ids == sample.image_id)
        truth = Instances(
            sample.boxes,
            sample.labels,
            masks=None if sample.masks is None else sample.masks.bitmaps().astype(bool),
            ignore_boxes=sample.ignore_boxes,
        )
        masks = found.bitmaps() if metric.with_masks else None
        prediction = Instances(found.boxes, found.labels, found.scores, masks)
        picture = draw_comparison(sample.image, truth, prediction, dataset.classes, min_score)
        yield sample.image_id, picture


def save_pictures(
    metric: DetectionMetric,
    dataset: DetectionDataset,
    out_dir: str | Path,
    num: int,
    min_score: float = 0.3,
) -> list[Path]:
    """Save what :func:`draw_pictures` draws as PNG files in a folder."""
    files = []
    for image_id, picture in draw_pictures(metric, dataset, num, min_score):
        files.append(Path(out_dir) / f"{image_id:012d}.png")
        save_image(files[-1], picture)
    logger.info("wrote %d pictures to %s", len(files), out_dir)
    return files


def write_json(path: str | Path, value: dict) -> None:
    """Write metrics as JSON."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")
    logger.info("wrote %s", path)
