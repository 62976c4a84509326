"""The data sets that the doctor examines: those of a config, or one that is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmdet_lite.data.formats import DefectsError, ReadOptions, read_dataset
from mmdet_lite.data.formats.yolo import NUMBERING_FIX, numbering_doubt
from mmdet_lite.data.problems import Problems
from mmdet_lite.doctor.annotations import (
    AnnotationReport,
    check_annotation_file,
    check_annotations,
)

_SECTIONS = ("train_data", "val_data", "test_data")


@dataclass(frozen=True)
class Use:
    """What a section of a config takes of a data set.

    Args:
        section: 'train_data' for example.
        part: config of a data set without pipelines, whose images it takes; None: all images.
    """

    section: str
    part: Any = None


@dataclass(frozen=True)
class Source:
    """A data set to examine.

    Args:
        name: path of the annotations, or the class of the data set.
        image_dir: folder of its images; None: that of the format, or they are not looked at.
        classes: names of those that are used; None: all.
        with_masks: masks are needed.
        trust_boxes: boxes that look like another format's are none the less COCO's.
        ann_format: what it is, see ``CocoDataset``.
        split: which part, where the format has parts.
        sections: of the config that it is in.
        own_class: config of a data set that is not a file; None for an annotation file.
        uses: what the sections take of it.
    """

    name: str
    image_dir: str | None = None
    classes: tuple[str, ...] | None = None
    with_masks: bool = False
    trust_boxes: bool = False
    ann_format: str = "auto"
    split: str | None = None
    sections: tuple[str, ...] = ()
    own_class: Any = field(default=None, compare=False)
    uses: tuple[Use, ...] = field(default=(), compare=False)

    @property
    def is_json(self) -> bool:
        """It is one file in COCO's form, or LVIS's."""
        return self.own_class is None and (
            self.ann_format in ("coco", "lvis")
            or (self.ann_format == "auto" and self.name.endswith(".json"))
        )


def find_sources(cfg: Any) -> list[Source]:
    """The data sets of a config, those inside others too, each once.

    Args:
        cfg: a config in the native form.

    Raises:
        ValueError: there is none.
    """
    sources: dict[tuple[Source, str], Source] = {}
    for section in _SECTIONS:
        for leaf, part in _leaves((cfg.get(section) or {}).get("dataset")):
            source = _source(leaf)
            key = replace(source, with_masks=False), repr(source.own_class)
            known = sources.get(key, source)
            sections = known.sections if section in known.sections else (*known.sections, section)
            with_masks = known.with_masks or source.with_masks
            uses = (*known.uses, Use(section, part))
            sources[key] = replace(known, sections=sections, with_masks=with_masks, uses=uses)
    if not sources:
        raise ValueError(f"the config has no data set in {', '.join(_SECTIONS)}")
    return list(sources.values())


def check_source(source: Source) -> tuple[Source, AnnotationReport]:
    """Read the annotations of a data set and check them; with the folder of its images."""
    options = (source.classes, source.with_masks, source.trust_boxes)
    if source.is_json:
        return source, check_annotation_file(source.name, *options)
    if source.own_class is None:
        return _check_other_format(source, options)
    from mmdet_lite.registry import DATASETS, build

    content = build(source.own_class, DATASETS, seed=0).coco_dict()
    content = json.loads(json.dumps(content, default=lambda value: value.tolist()))
    return source, check_annotations(content, Problems(source.name), *options)


def _check_other_format(source: Source, options: tuple) -> tuple[Source, AnnotationReport]:
    """Labels that cannot be read are findings, each one; the images are not known then."""
    problems = Problems(source.name)
    folder = None if source.image_dir is None else Path(source.image_dir)
    wanted = ReadOptions(source.split, folder, source.classes)
    fix = "Correct it: nothing else of the data set was looked at."
    try:
        read = read_dataset(source.name, source.ann_format, wanted)
    except DefectsError as error:
        for what, example, advice in error.defects:
            problems.add("error", "labels_invalid", None, f"{what}: {example}", advice)
    except FileNotFoundError as error:
        problems.add("error", "file_missing", None, str(error), fix)
    except (OSError, ValueError) as error:
        problems.add("error", "labels_invalid", None, str(error), fix)
    if problems.found:
        return source, AnnotationReport(problems.found)
    if read.format == "yolo" and (doubt := numbering_doubt(read.content)):
        problems.add("warning", "label_numbering_suspected", None, doubt, NUMBERING_FIX)
    source = replace(source, image_dir=str(read.image_dir))
    return source, check_annotations(read.content, problems, *options)


def _leaves(dataset: Any, subset: dict | None = None) -> Iterator[tuple[dict, dict | None]]:
    """The data sets that others are made of; and the outermost that takes a part of each."""
    if not isinstance(dataset, dict):
        return
    inner = [dataset.get("dataset"), *(dataset.get("datasets") or [])]
    is_part = dataset.get("type") == "SubsetDataset" or dataset.get("indices") is not None
    if subset is None and is_part:
        subset = _without_pipelines(dataset)
    if not any(isinstance(one, dict) for one in inner):
        yield dataset, subset
    for one in inner:
        yield from _leaves(one, subset)


def _without_pipelines(dataset: Any) -> Any:
    if isinstance(dataset, dict):
        return {k: _without_pipelines(v) for k, v in dataset.items() if k != "pipeline"}
    return (
        [_without_pipelines(v) for v in dataset] if isinstance(dataset, (list, tuple)) else dataset
    )


def _source(dataset: dict) -> Source:
    if dataset.get("type") != "CocoDataset":
        return Source(str(dataset.get("type")), own_class=dataset)
    classes = (dataset.get("metainfo") or {}).get("classes")
    return Source(
        name=str(dataset.get("ann_file")),
        image_dir=dataset.get("image_dir"),
        classes=None if classes is None else tuple(classes),
        with_masks=bool(dataset.get("with_masks")),
        trust_boxes=bool(dataset.get("trust_boxes")),
        ann_format=dataset.get("ann_format", "auto"),
        split=dataset.get("split"),
    )
