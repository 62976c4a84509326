"""The data sets of a config, or one annotation file: everything that is wrong with them."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmdet_lite.apis.doctor_parts import Part, read_parts
from mmdet_lite.apis.doctor_sources import Source, check_source
from mmdet_lite.data.coco_checks import check_image_files
from mmdet_lite.data.coco_columns import Images
from mmdet_lite.data.findings import Finding
from mmdet_lite.data.moved_images import where_images_lie
from mmdet_lite.data.problems import Problems
from mmdet_lite.doctor.annotations import FORMATS
from mmdet_lite.doctor.fix import check_new, write_corrected
from mmdet_lite.doctor.images import ImageRecord, check_images, find_leaks, find_unlisted
from mmdet_lite.doctor.leaks import ImageDigest
from mmdet_lite.doctor.page import write_page
from mmdet_lite.doctor.pictures import PictureSource, pick_pictures
from mmdet_lite.doctor.report import as_list, as_text, exit_code, summary, write_json
from mmdet_lite.doctor.statistics import Statistics, dataset_statistics
from mmdet_lite.doctor.training_view import AnchorGrid, Scale, read_anchors, read_scales

Progress = Callable[[int, int], None]

_BAR = 30  # characters
_WRONG_SIZES = ("size_mismatch", "exif_rotated")


@dataclass
class Examination:
    """What was found in a data set.

    Attributes:
        source: the data set.
        content: what its annotation file holds; None if it cannot be read.
        findings: in the annotations and the image files.
        parts: of its images, that the config's sections take; none where the annotation file is
            not in COCO's format.
        statistics: of each part.
        digests: of its images, by path.
    """

    source: Source
    content: Any
    findings: list[Finding]
    parts: list[Part] = field(default_factory=list)
    statistics: list[Statistics] = field(default_factory=list)
    digests: dict[str, ImageDigest] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The annotation file, and where the config has it."""
        where = f" ({', '.join(self.source.sections)})" if self.source.sections else ""
        return f"{self.source.name}{where}"

    def as_text(self) -> str:
        """For a terminal."""
        title = f"{self.name}: {summary(self.findings)}"
        parts = [title, "=" * len(title), as_text(self.findings, self.source.name)]
        parts += [f"\n{one.as_text()}" for one in self.statistics]
        return "\n".join(part for part in parts if part)


@dataclass
class Training:
    """How a config's training sees the data: scales and anchors, as far as they are known."""

    scales: Sequence[Scale] = ()
    anchors: AnchorGrid | None = None


def find_training(cfg: Any) -> Training:
    """How the training of a config in the native form sees its data."""
    return Training(read_scales(cfg), read_anchors(cfg))


def examine(
    sources: Sequence[Source],
    training: Training | None = None,
    read_images: bool = True,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Examination], list[Finding]]:
    """Examine data sets.

    Args:
        sources: the data sets.
        training: how they are seen in training, for the statistics.
        read_images: decode the image files too; else only whether they are there is looked at.
        num_workers: processes that read images; None: as many as there are cores.
        progress: called with the number of images read and of all in a data set.

    Returns:
        One examination a data set; and what was found between them.
    """
    examinations = []
    for source in sources:
        source, report = check_source(source)
        result = Examination(source, report.content, list(report.findings))
        if report.columns is not None:
            result.parts = read_parts(report.content, source)
            result.statistics = _statistics(result, training or Training())
            _examine_images(result, report.columns.images, read_images, num_workers, progress)
        examinations.append(result)
    return examinations, _between(examinations)


def _statistics(result: Examination, seen: Training) -> list[Statistics]:
    """One for each part."""
    formats = [finding.kind for finding in result.findings if finding.kind in FORMATS]
    doubts = [
        f"sizes and shapes of the boxes as they stand, not of the objects: see {kind}"
        for kind in formats
    ]
    return [
        replace(
            dataset_statistics(part.content, result.source.classes, seen.scales, seen.anchors),
            remarks=tuple(remark for remark in (part.remark, *doubts) if remark),
        )
        for part in result.parts
    ]


def _examine_images(
    result: Examination,
    images: Images,
    read_images: bool,
    num_workers: int | None,
    progress: Progress | None,
) -> None:
    folder = result.source.image_dir
    if folder is None:
        return
    if not (read_images and os.path.isdir(folder)):
        problems = Problems(result.source.name)
        check_image_files(Path(folder), images, problems)
        result.findings += problems.found
        return
    records = [
        ImageRecord(key, os.path.join(folder, name), tuple(size))
        for key, name, size in zip(
            images.ids.tolist(), images.file_names, images.sizes.tolist(), strict=True
        )
    ]
    report = check_images(records, num_workers, progress)
    result.findings += _with_place(report.findings, folder, images)
    result.digests = report.digests


def _with_place(findings: Sequence[Finding], folder: str, images: Images) -> list[Finding]:
    """Files that are missing are told with the place where they are, if it is near."""
    names = dict(zip(images.ids.tolist(), images.file_names, strict=True))
    missing = [names[finding.id] for finding in findings if finding.kind == "image_missing"]
    near = where_images_lie(folder, missing, len(names))
    if near is None:
        return list(findings)
    return [replace(f, fix=near) if f.kind == "image_missing" else f for f in findings]


def _between(examinations: Sequence[Examination]) -> list[Finding]:
    """Images of two splits, and files of no split."""
    names: dict[str, list[str]] = defaultdict(list)
    digests: dict[str, dict[str, ImageDigest]] = defaultdict(dict)
    findings = []
    for result in examinations:
        source = result.source
        for part in result.parts:
            findings += _learnt_and_evaluated(source.name, part)
            if part.is_known or len(result.parts) == 1:
                digests[", ".join(part.sections)].update(_digests_of(result, part))
        if source.image_dir and isinstance(result.content, dict):
            listed = result.content.get("images")
            listed = listed if isinstance(listed, list) else []
            names[os.path.normpath(source.image_dir)] += [
                image["file_name"]
                for image in listed
                if isinstance(image, dict) and isinstance(image.get("file_name"), str)
            ]
    findings += find_leaks(digests)
    for folder, listed in names.items():
        findings += find_unlisted(folder, listed)
    return findings


def _learnt_and_evaluated(name: str, part: Part) -> list[Finding]:
    """A finding where the very images of the training are evaluated on."""
    if not part.is_known or "train_data" not in part.sections or len(part.sections) == 1:
        return []
    found = f"it is the data set of {' and '.join(part.sections)}"
    fix = "Evaluate on other images, unless this is meant to be learnt by heart."
    return [Finding("warning", "split_leak", name, None, found, fix)]


def _digests_of(result: Examination, part: Part) -> dict[str, ImageDigest]:
    """Those of the images of a part, by path."""
    ids = part.image_ids
    return {path: one for path, one in result.digests.items() if ids is None or one.id in ids}


def run_doctor(
    sources: Sequence[Source],
    training: Training | None = None,
    read_images: bool = True,
    num_workers: int | None = None,
    json_file: str | None = None,
    fix: str | None = None,
    html_file: str | None = None,
) -> int:
    """Examine data sets, print what is found and write what was asked for.

    Args:
        sources, training, read_images, num_workers: as for :func:`examine`.
        json_file: where to write all findings as a list.
        fix: where to write a corrected annotation file.
        html_file: where to write a page with pictures of what is found.

    Returns:
        The exit code: 0 nothing but notes, 1 warnings, 2 errors.

    Raises:
        FileExistsError: a file to write a correction to exists.
        ValueError: a correction was asked for and there are several files, or it cannot be made.
    """
    if fix is not None and (len(sources) > 1 or not sources[0].is_json):
        names = ", ".join(source.name for source in sources)
        raise ValueError(
            f"--fix corrects one annotation file in json: name one with --ann, got {names}. Other "
            "formats are converted by mmdet-lite convert"
        )
    if fix is not None:
        check_new(fix)
    _check_not_read([name for name in (json_file, html_file) if name], sources)
    progress = _show_progress if sys.stderr.isatty() else None
    examinations, between = examine(sources, training, read_images, num_workers, progress)
    findings = [f for result in examinations for f in result.findings] + between
    if json_file is not None:
        write_json(json_file, as_list(findings))
    if html_file is not None:
        _write_page(html_file, examinations, findings)
    for result in examinations:
        _print(f"{result.as_text()}\n")
    if between:
        _print(f"between data sets: {summary(between)}\n{as_text(between)}\n")
    _print(f"{summary(findings)}")
    for name in (json_file, html_file):
        if name is not None:
            _print(f"wrote {name}")
    if fix is not None:
        wrong_sizes = {finding.id for finding in findings if finding.kind in _WRONG_SIZES}
        correction = write_corrected(sources[0].name, fix, sources[0].trust_boxes, wrong_sizes)
        _print(f"\n{correction.as_text(fix)}")
    return exit_code(findings)


def _check_not_read(outputs: Sequence[str], sources: Sequence[Source]) -> None:
    """Refuse to write over what is examined."""
    inputs = {os.path.realpath(source.name) for source in sources if source.own_class is None}
    for name in outputs:
        if os.path.realpath(name) in inputs:
            raise ValueError(f"{name} is the annotation file itself: name another file to write")


def _write_page(
    path: str, examinations: Sequence[Examination], findings: Sequence[Finding]
) -> None:
    sources = [
        PictureSource(result.source.name, result.source.image_dir, result.content)
        for result in examinations
        if result.source.image_dir is not None
    ]
    statistics = [(r.name, one) for r in examinations for one in r.statistics]
    subject = ", ".join(dict.fromkeys(Path(r.source.name).name for r in examinations))
    write_page(path, subject, findings, statistics, pick_pictures(findings, sources))


def _show_progress(done: int, total: int) -> None:
    """A bar on a terminal."""
    filled = _BAR * done // max(total, 1)
    end = "\n" if done == total else ""
    bar = "#" * filled + "." * (_BAR - filled)
    print(f"\r[{bar}] {done}/{total} images", end=end, file=sys.stderr, flush=True)


def _print(text: str) -> None:
    """Print names that the terminal cannot show too."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
