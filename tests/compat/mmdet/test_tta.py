"""``tta_model`` and ``tta_pipeline`` become the section ``tta``; what cannot is told."""

from __future__ import annotations

import copy

import pytest

from mmdet_lite.apis.tta import TTASettings
from mmdet_lite.compat.mmdet import translate_config
from mmdet_lite.compat.mmdet.read import Notes, Section
from mmdet_lite.compat.mmdet.tta import tta

SCALES = [(1333, 800), (666, 400), (2000, 1200)]
LOAD, ANNOTATIONS = {"type": "LoadImageFromFile", "backend_args": None}, {"type": "LoadAnnotations"}
PACK = {"type": "PackDetInputs", "meta_keys": ("img_id", "flip", "flip_direction")}
RESIZES = [{"type": "Resize", "scale": scale, "keep_ratio": True} for scale in SCALES]
FLIPS = [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}]
TWO_NMS = {"nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 50}


def _pipeline(*lists: list) -> list:
    return [LOAD, {"type": "TestTimeAug", "transforms": list(lists)}]


def _translate(config: dict, test_data: dict | None = None) -> tuple[dict, list[str]]:
    """The native section, and all problems."""
    notes = Notes()
    native = tta(Section(copy.deepcopy(config), "", notes), test_data)
    notes.finish()
    return native, notes.problems


def test_the_form_of_retinanet_tta():
    """configs/retinanet/retinanet_tta.py of MMDetection 3.3, with another NMS."""
    config = {
        "tta_model": {"type": "DetTTAModel", "tta_cfg": TWO_NMS},
        "tta_pipeline": _pipeline(RESIZES, FLIPS, [ANNOTATIONS | {"with_bbox": True}], [PACK]),
    }
    native, problems = _translate(config)
    assert problems == []
    assert native == {
        "scales": SCALES,
        "flips": ["horizontal", None],
        "nms": {"type": "NMS", "iou_thr": 0.6},
        "max_per_img": 50,
    }
    TTASettings(**native)


def test_lists_in_another_order_give_the_same():
    expected = _translate({"tta_pipeline": _pipeline(RESIZES, FLIPS, [ANNOTATIONS], [PACK])})
    assert _translate({"tta_pipeline": _pipeline(FLIPS, RESIZES, [PACK])}) == expected


def test_steps_outside_of_the_lists_hold_for_all_views():
    inside = {"type": "TestTimeAug", "transforms": [FLIPS, [PACK]]}
    native, problems = _translate({"tta_pipeline": [LOAD, RESIZES[0], ANNOTATIONS, inside]})
    assert (native, problems) == ({"scales": SCALES[:1], "flips": ["horizontal", None]}, [])


def test_directions_and_ratio_are_kept():
    stretched = [{"type": "Resize", "scale": (512, 512)}]  # MMDetection's default is False
    vertical = [{"type": "RandomFlip", "prob": 1.0, "direction": "vertical"}]
    native, problems = _translate({"tta_pipeline": _pipeline(stretched, vertical)})
    assert problems == []
    assert native == {"scales": [(512, 512)], "flips": ["vertical"], "keep_ratio": False}


def test_views_are_not_mirrored_where_no_flip_is_named():
    assert _translate({"tta_pipeline": _pipeline(RESIZES)})[0]["flips"] == [None]


def test_either_half_may_be_missing():
    merging = {"tta_model": {"type": "mmdet.DetTTAModel", "tta_cfg": TWO_NMS}}
    assert _translate(merging)[0].keys() == {"nms", "max_per_img"}
    assert _translate({}) == ({}, [])


PAD = {"type": "Pad", "size_divisor": 32}


def test_other_transforms_must_be_those_of_the_test_pipeline():
    resize = {"type": "Resize", "scale": (1333, 800)}
    padded = {"dataset": {"dataset": {"pipeline": [resize, PAD]}}}
    config = {"tta_pipeline": _pipeline(RESIZES, FLIPS, [PAD], [PACK])}
    assert _translate(config, padded)[1] == []
    assert _translate(config, {"dataset": {"pipeline": [resize]}})[1] == [
        "tta_pipeline has Pad beside Resize and RandomFlip, and the test data set's pipeline "
        "nothing; they must be the same"
    ]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"tta_pipeline": _pipeline(FLIPS)}, "tta_pipeline has no Resize; give it that"),
        (
            {"tta_pipeline": _pipeline(RESIZES, [{"type": "RandomFlip", "prob": 0.5}])},
            "tta_pipeline.1.transforms.1.0.prob is 0.5; a view is mirrored (1.0) or not (0.0)",
        ),
        (
            {
                "tta_pipeline": _pipeline(
                    RESIZES, [{"type": "RandomFlip", "prob": 1, "direction": "diagonal"}]
                )
            },
            "tta_pipeline.1.transforms.1.0.direction is 'diagonal', and only",
        ),
        (
            {"tta_pipeline": _pipeline(RESIZES, RESIZES)},
            "tta_pipeline.1.transforms is the second place of the pipeline with a Resize",
        ),
        (
            {"tta_pipeline": _pipeline(RESIZES, [FLIPS[0], PAD])},
            "tta_pipeline.1.transforms has RandomFlip, Pad side by side; views differ in",
        ),
        (
            {"tta_pipeline": _pipeline([RESIZES[0], {"type": "Resize", "scale": (9, 9)}])},
            "tta_pipeline keeps the ratio at some scales only",
        ),
        (
            {"tta_pipeline": _pipeline(RESIZES, [{"type": "YOLOXHSVRandomAug"}])},
            "tta_pipeline.1.transforms.1.0.type is 'YOLOXHSVRandomAug', which is no transform",
        ),
        (
            {"tta_pipeline": _pipeline([RESIZES[0] | {"scal": 1}])},
            "tta_pipeline.1.transforms.0.0.scal = 1 is no known key of Resize",
        ),
        (
            {"tta_pipeline": [RESIZES[0], {"type": "TestTimeAug", "transforms": FLIPS}]},
            "tta_pipeline.1.transforms is no list of lists",
        ),
        (
            {"tta_model": {"type": "SegTTAModel"}},
            "tta_model.type is 'SegTTAModel', which is no way",
        ),
        ({"tta_model": {"type": "DetTTAModel"}}, "tta_model.tta_cfg is missing"),
        (
            {"tta_model": {"type": "DetTTAModel", "tta_cfg": TWO_NMS | {"fusion": 1}}},
            "tta_model.tta_cfg.fusion = 1 is no known key",
        ),
    ],
)
def test_what_cannot_be_translated_is_told_with_its_path(config, problem):
    _, problems = _translate(config)
    assert any(text.startswith(problem) for text in problems), problems


def test_whole_configs_are_translated_with_it():
    config = {"default_scope": "mmdet", "tta_pipeline": _pipeline(RESIZES, FLIPS, FLIPS)}
    with pytest.raises(ValueError, match="2 of its settings") as caught:
        translate_config(config)
    assert "tta_pipeline.1.transforms is the second place" in str(caught.value)
    assert "model is missing" in str(caught.value)
