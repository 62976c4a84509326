"""Test-time augmentation: ``tta_model`` and ``tta_pipeline`` to the section ``tta``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmdet_lite.compat.mmdet.data import Pipeline, transform
from mmdet_lite.compat.mmdet.parts import nms
from mmdet_lite.compat.mmdet.read import Native, Section

_SIZES, _FLIPS = "Resize", "RandomFlip"


@dataclass
class _Views:
    """What a pipeline says, step by step.

    Attributes:
        resizes, flips: native transforms of which each makes a view.
        others: native transforms that all views pass through.
    """

    resizes: list[Native] = field(default_factory=list)
    flips: list[Native] = field(default_factory=list)
    others: list[Native] = field(default_factory=list)


def tta(top: Section, test_data: Native | None) -> Native:
    """``tta_model`` and ``tta_pipeline``, either of which may be missing.

    Args:
        top: the config.
        test_data: the translated section, whose pipeline the views share but for size and flip.
    """
    native: Native = {}
    steps, model = top.sections("tta_pipeline"), top.section("tta_model")
    if steps:
        native |= _translate_pipeline(top, steps, test_data)
    if model is not None:
        native |= model.dispatch("way of merging views", {"DetTTAModel": _merging}) or {}
    return native


def _merging(s: Section) -> Native:
    s.has_no_effect("as in model.data_preprocessor", "data_preprocessor")
    s.expect("module", None)
    s.expect("init_cfg", None)
    s.require("tta_cfg")
    settings = s.section_or_empty("tta_cfg")
    native = settings.copy("max_per_img")
    if suppression := nms(settings.section("nms")):
        native["nms"] = suppression
    return native


def _translate_pipeline(top: Section, steps: list[Section], test_data: Native | None) -> Native:
    views = _Views()
    for step in steps:
        if step.type == "TestTimeAug":
            for alternatives in _nested(step):
                _add(views, step, alternatives)
        else:
            _add(views, step, [step])
    if not views.resizes:
        top.problem("tta_pipeline", "has no Resize; give it that of the test pipeline")
    _check_others(top, views.others, test_data)
    ratios = {one.get("keep_ratio", True) for one in views.resizes}
    if len(ratios) > 1:
        top.problem("tta_pipeline", "keeps the ratio at some scales only")
    native: Native = {
        "scales": [one["scale"] for one in views.resizes],
        "flips": [_direction(one) for one in views.flips] or [None],
    }
    return native if ratios == {True} else native | {"keep_ratio": False}


def _nested(s: Section) -> list[list[Section]]:
    """``transforms``, a list of lists: one of each is a view."""
    lists = s.require("transforms") or []
    if not all(isinstance(one, Sequence) for one in lists):
        s.problem("transforms", "is no list of lists, of which one transform each makes a view")
        return []
    return [
        [Section(one, f"{s.path}.transforms.{i}.{j}", s.notes) for j, one in enumerate(group)]
        for i, group in enumerate(lists)
    ]


def _add(views: _Views, owner: Section, alternatives: list[Section]) -> None:
    """Sort transforms of which one each makes a view by what they change."""
    found = [(one, transform(one, Pipeline())) for one in alternatives]
    natives = [native for _, native in found if native]
    if len(natives) == len(found) and all(native["type"] == _SIZES for native in natives):
        _add_once(views.resizes, natives, owner, _SIZES)
    elif len(natives) == len(found) and all(native["type"] == _FLIPS for native in natives):
        for one, native in found:
            _check_flip(one, native)
        _add_once(views.flips, natives, owner, _FLIPS)
    elif len(found) == 1:
        views.others += natives
    else:
        listed = ", ".join(one.type for one in alternatives)
        owner.problem(
            "transforms", f"has {listed} side by side; views differ in Resize or in RandomFlip only"
        )


def _add_once(known: list[Native], natives: list[Native], owner: Section, name: str) -> None:
    if known:
        owner.problem("transforms", f"is the second place of the pipeline with a {name}")
    else:
        known += natives


def _check_flip(s: Section, native: Native) -> None:
    if native["prob"] not in (0, 1):
        s.problem("prob", f"is {native['prob']!r}; a view is mirrored (1.0) or not (0.0)")
    if native.get("direction", "horizontal") not in ("horizontal", "vertical"):
        s.problem(
            "direction",
            f"is {native['direction']!r}, and only 'horizontal' or 'vertical' is supported",
        )


def _direction(flip: Native) -> str | None:
    return flip.get("direction", "horizontal") if flip["prob"] else None


def _check_others(top: Section, others: list[Native], test_data: Native | None) -> None:
    """All views pass through what else stands in the pipeline of ``test_data``."""
    dataset: Any = (test_data or {}).get("dataset")
    while dataset and "dataset" in dataset:
        dataset = dataset["dataset"]
    if not dataset or "pipeline" not in dataset:
        return
    expected = [one for one in dataset["pipeline"] if one["type"] not in (_SIZES, _FLIPS)]
    if others != expected:
        top.problem(
            "tta_pipeline",
            f"has {_names(others)} beside Resize and RandomFlip, and the test data set's pipeline "
            f"{_names(expected)}; they must be the same",
        )


def _names(transforms: list[Native]) -> str:
    return ", ".join(one["type"] for one in transforms) or "nothing"
