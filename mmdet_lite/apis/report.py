"""The evaluation report: what a run's detections are worth, as one page to look at."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.evaluation import CocoMetric, coco_eval
from mmdet_lite.evaluation.analysis import IOU, IOU_THRESHOLDS, Analysis, analyse, describe
from mmdet_lite.evaluation.checks import check_results
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.image_ranking import best_images, compare_images, worst_images
from mmdet_lite.evaluation.other_run import (
    REPORT_FILE,
    OtherRun,
    find_files,
    read_other,
    write_report_json,
)
from mmdet_lite.evaluation.overlaps import Truth, read_truth
from mmdet_lite.evaluation.score_counts import SCORE_THRESHOLDS, ImageCounts
from mmdet_lite.visualization.curves import read_log
from mmdet_lite.visualization.report.page import page_html
from mmdet_lite.visualization.report.pictures import draw_kinds, shrink
from mmdet_lite.visualization.report.training import training_series

logger = logging.getLogger("mmdet_lite")

PAGE_FILE = "report.html"
_KINDS = ("bbox", "segm")
_WORST, _BEST, _WINS, _LOSSES = 12, 6, 8, 8  # pictures of each kind


@dataclass(frozen=True)
class ReportRequest:
    """What a report is to be made of.

    Attributes:
        folder: for report.html and report.json; it is made.
        config_name: the page's title.
        checkpoint: the file that was evaluated; the training curves are of ``log.jsonl`` beside it.
        score_threshold: of what is counted by image, and where the page begins.
        compare: another run, as :func:`mmdet_lite.evaluation.other_run.find_files` takes it.
        work_dir: a folder whose ``log.jsonl`` is taken instead, if there is one.
    """

    folder: str | Path
    config_name: str
    checkpoint: str | Path
    score_threshold: float
    compare: str | Path | None = None
    work_dir: str | Path | None = None

    @property
    def run_name(self) -> str:
        """Short, to tell runs apart: a checkpoint with its folder."""
        path = Path(self.checkpoint).absolute()
        return f"{path.parent.name}/{path.stem}"

    @property
    def log_file(self) -> Path | None:
        """The training's log, if there is one."""
        folders = [self.work_dir or "", Path(self.checkpoint).parent]
        files = [Path(folder) / "log.jsonl" for folder in folders if folder]
        return next((file for file in files if file.is_file()), None)


@dataclass
class _Run:
    """A run as it is compared: its figures by kind, and what they are from where that is known."""

    name: str
    numbers: dict[str, dict[str, Any]]
    analyses: dict[str, Analysis]
    results: dict[str, CocoResults]


def prepare_report(request: ReportRequest, metric: Any) -> OtherRun | None:
    """Find out before an evaluation whether a report can be made after it; make the folder.

    Args:
        request: what and where.
        metric: with its ground truth; from now on it keeps what the report needs.

    Returns:
        What the run is compared with, if anything.

    Raises:
        ValueError: the metric has neither boxes nor masks; what is compared with is not a run, is
            about other data, or is a report at another threshold.
        FileNotFoundError: what is compared with is not there.
    """
    if not isinstance(metric, CocoMetric) or not set(metric.metrics) & set(_KINDS):
        raise ValueError(
            "--report needs metric = dict(type='CocoMetric', metrics=['bbox', ...]) with 'bbox' or "
            f"'segm', but the config's metric is {type(metric).__name__}"
            + (f" with {list(metric.metrics)}" if isinstance(metric, CocoMetric) else "")
        )
    Path(request.folder).mkdir(parents=True, exist_ok=True)
    metric.keeps_curves = True
    if request.compare is None:
        return None
    images = metric.ground_truth.dataset["images"]
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    files = find_files(request.compare)
    other = read_other(files, sizes, metric.category_ids)
    if other.report is not None:
        _check_same_data(request, metric, other.report, files["report"])
    for results in other.results.values():
        check_results(results, metric.classes)
    kinds = other.results.keys() if other.report is None else other.report["kinds"].keys()
    if not kinds & set(metric.metrics):
        raise ValueError(
            f"{request.compare}: has {', '.join(kinds)}, but the metric evaluates "
            f"{', '.join(metric.metrics)}; nothing can be compared"
        )
    return other


def write_report(
    request: ReportRequest,
    metric: CocoMetric,
    dataset: DetectionDataset,
    compared_with: OtherRun | None,
) -> Path:
    """Write ``report.html``, and ``report.json`` for later comparisons.

    Args:
        request: what and where.
        metric: after ``evaluate`` on this data set, of the main process.
        dataset: whose images are shown.
        compared_with: from :func:`prepare_report`.

    Returns:
        The page's path.
    """
    kinds = [kind for kind in metric.metrics if kind in _KINDS]
    truths = {kind: _truth(metric, kind == "segm") for kind in kinds}
    truth = next(iter(truths.values()))
    run = _analyse_run(request, metric, truths)
    content = {
        "title": request.config_name,
        "run": request.run_name,
        "checkpoint": str(request.checkpoint),
        "data": describe(truth),
        "classes": list(metric.classes),
        "score_threshold": request.score_threshold,
        "iou_threshold": IOU,
        "iou_thresholds": IOU_THRESHOLDS,
        "score_thresholds": SCORE_THRESHOLDS.tolist(),
        "image_ids": truth.image_ids.tolist(),
        "kinds": run.numbers,
    }
    other = _other_run(request, metric, truths, compared_with) if compared_with else None
    galleries, compared = _galleries(run, other)
    page = _page_content(content, other)
    page["galleries"], page["compared"] = galleries, compared
    page["pictures"] = _pictures(run, other, galleries, truth, metric, dataset)
    if request.log_file is not None:
        page["training"] = training_series(read_log(request.log_file))
    folder = Path(request.folder)
    write_report_json(folder / REPORT_FILE, content)
    path = folder / PAGE_FILE
    path.write_text(page_html(page), encoding="utf-8")
    logger.info("wrote %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


def _analyse_run(request: ReportRequest, metric: CocoMetric, truths: Mapping[str, Truth]) -> _Run:
    analyses = {
        kind: analyse(
            kind,
            truth,
            metric.computed,
            metric.curves[kind],
            metric.category_ids,
            metric.max_detections,
            request.score_threshold,
        )
        for kind, truth in truths.items()
    }
    numbers = {kind: analysis.numbers for kind, analysis in analyses.items()}
    return _Run(request.run_name, numbers, analyses, dict.fromkeys(truths, metric.computed))


def _other_run(
    request: ReportRequest, metric: CocoMetric, truths: Mapping[str, Truth], other: OtherRun
) -> _Run:
    if other.report is not None:
        return _Run(other.report["run"], other.report["kinds"], {}, {})
    settings = (metric.category_ids, metric.max_detections)
    analyses = {}
    for kind in [kind for kind in truths if kind in other.results]:
        results = other.results[kind]
        curves = coco_eval.evaluate(metric.ground_truth, results, kind, *settings)
        arguments = (truths[kind], results, curves, *settings, request.score_threshold)
        analyses[kind] = analyse(kind, *arguments)
    numbers = {kind: analysis.numbers for kind, analysis in analyses.items()}
    return _Run(other.name, numbers, analyses, other.results)


def _truth(metric: CocoMetric, with_masks: bool) -> Truth:
    return read_truth(metric.ground_truth.dataset, metric.category_ids, with_masks)


def _check_same_data(request: ReportRequest, metric: CocoMetric, report: dict, file: Path) -> None:
    here = {
        "classes": ("the classes", list(metric.classes)),
        "data": ("the ground truth", describe(_truth(metric, with_masks=False))),
        "score_threshold": ("--show-score-thr", request.score_threshold),
    }
    for key, (what, value) in here.items():
        if report.get(key) != value:
            raise ValueError(
                f"{file}: {what} of that report differ from those of this run "
                f"({_short(report.get(key))}, here {_short(value)}); compare runs on the same "
                "test_data, with the same --show-score-thr"
            )


def _short(value: Any, length: int = 120) -> str:
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}..."


def _counts(run: _Run, kind: str) -> ImageCounts:
    columns = run.numbers[kind]["images"]
    return ImageCounts(*(np.array(columns[name]) for name in ("true", "false", "missed")))


def _galleries(run: _Run, other: _Run | None) -> tuple[dict, dict]:
    """Places of the images to show by kind and gallery; how many were won, lost and even."""
    galleries: dict[str, dict[str, list[int]]] = {}
    compared: dict[str, dict[str, int]] = {}
    for kind in run.numbers:
        counts = _counts(run, kind)
        worst = worst_images(counts, _WORST).tolist()
        best = [p for p in best_images(counts, _WORST + _BEST).tolist() if p not in worst]
        galleries[kind] = {"worst": worst, "best": best[:_BEST]}
        if other is not None and kind in other.numbers:
            comparison = compare_images(counts, _counts(other, kind))
            galleries[kind]["wins"] = comparison.wins[:_WINS].tolist()
            galleries[kind]["losses"] = comparison.losses[:_LOSSES].tolist()
            sizes = (len(comparison.wins), len(comparison.losses), comparison.ties)
            compared[kind] = dict(zip(("wins", "losses", "ties"), sizes, strict=True))
    return galleries, compared


def _page_content(content: dict, other: _Run | None) -> dict:
    """What the page needs of the figures: images are in the galleries only."""

    def without_images(kinds: Mapping[str, dict]) -> dict:
        return {
            kind: {name: value for name, value in numbers.items() if name != "images"}
            for kind, numbers in kinds.items()
        }

    page = {name: value for name, value in content.items() if name != "image_ids"}
    page["kinds"] = without_images(content["kinds"])
    if other is not None:
        page["other"] = {"run": other.name, "kinds": without_images(other.numbers)}
    return page


def _pictures(
    run: _Run,
    other: _Run | None,
    galleries: Mapping[str, Mapping[str, Iterable[int]]],
    truth: Truth,
    metric: CocoMetric,
    dataset: DetectionDataset,
) -> dict[int, dict]:
    """The images of the galleries, by place in the ground truth."""
    index_of = {image["id"]: i for i, image in enumerate(metric.ground_truth.dataset["images"])}
    pictures = {}
    places = {p for kind in galleries.values() for gallery in kind.values() for p in gallery}
    for place in sorted(places):
        image_id = int(truth.image_ids[place])
        picture = shrink(dataset.load(index_of[image_id]))
        scale = picture.pop("scale")
        picture |= {"id": image_id, "kinds": draw_kinds(run.analyses, run.results, place, scale)}
        if other is not None:
            drawn = draw_kinds(other.analyses, other.results, place, scale)
            picture["other"] = drawn
            picture["f1"] = {
                kind: [round(float(_counts(each, kind).f1[place]), 3) for each in (run, other)]
                for kind in other.numbers
                if kind in run.numbers
            }
        pictures[place] = picture
    return pictures
