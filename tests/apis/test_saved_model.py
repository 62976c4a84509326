"""What a checkpoint tells of its model, and that nothing in it is run.

Run with: pytest tests/apis/test_saved_model.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from foreign_configs import foreign_config
from mmengine.config import Config

from mmdet_lite.apis.inference import load
from mmdet_lite.apis.saved_model import saved_config
from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint

TINY = Path(__file__).parent / "tiny_config.py"


@pytest.fixture(scope="module")
def checkpoint(trained: Path) -> Path:
    return trained / "iter_2.pth"


def change(checkpoint: Path, out: Path, **meta: object) -> Path:
    """A copy with other meta data; None removes."""
    content = load_checkpoint(checkpoint)
    content["meta"] = {k: v for k, v in (content["meta"] | meta).items() if v is not None}
    save_checkpoint(content, out)
    return out


def test_a_name_of_the_zoo_is_taken(checkpoint, monkeypatch):
    monkeypatch.setattr("mmdet_lite.apis.zoo.get_model", lambda name: checkpoint)
    with pytest.raises(ValueError, match="do not fit TwoStageDetector"):  # of its shipped config
        load("zoo:mask-rcnn_r50_fpn_1x_coco")


def test_weights_alone_need_a_config(checkpoint, tmp_path):
    bare = change(checkpoint, tmp_path / "bare.pth", config=None, classes=None, category_ids=None)
    with pytest.raises(ValueError, match="bare.pth does not hold the config of its model.*config="):
        load(bare)
    model = load(bare, config=TINY)
    assert model.classes[:2] == ("class 0", "class 1")
    assert model.category_ids == (1, 2, 3, 4, 5, 6)


def test_category_ids_are_those_of_the_data_set(checkpoint, tmp_path):
    assert load_checkpoint(checkpoint)["meta"]["category_ids"] == [1, 2, 3, 4, 5, 6]
    ids = [10, 20, 30, 40, 50, 60]
    model = load(change(checkpoint, tmp_path / "ids.pth", category_ids=ids))
    model.model.roi_head.bbox_head.score_thr = 0.0
    found = model(np.zeros((64, 64, 3), np.uint8))
    assert len(found)
    assert {e["category_id"] for e in found.to_coco()} == {ids[k] for k in found.labels}


def test_a_config_in_a_checkpoint_is_not_run(checkpoint, tmp_path):
    text = load_checkpoint(checkpoint)["meta"]["config"]
    mark = tmp_path / "ran"
    for line in (f"x = open({str(mark)!r}, 'w')", f"import os\nos.mkdir({str(mark)!r})"):
        bad = change(checkpoint, tmp_path / "bad.pth", config=f"{text}\n{line}\n")
        with pytest.raises(ValueError, match=r"bad.pth: the config in it is not run.*line \d+ is"):
            load(bad)
    text += "\ncustom_imports = dict(imports=['antigravity'])\n"
    bad = change(checkpoint, tmp_path / "bad.pth", config=text)
    with pytest.raises(ValueError, match="imports antigravity .custom_imports"):
        load(bad)
    assert not mark.exists() and "antigravity" not in sys.modules


def test_options_change_the_config_that_is_read(checkpoint):
    content = load_checkpoint(checkpoint)
    cfg = saved_config(content, "a.pth", {"train.max_iters": 9})
    expected = saved_config(content, "a.pth").to_dict()
    expected["train"]["max_iters"] = 9
    assert cfg.to_dict() == expected


def test_infinity_in_a_config_is_read(checkpoint, tmp_path):
    text = load_checkpoint(checkpoint)["meta"]["config"] + "\nlimits = [(-1, inf), -inf]\n"
    assert load(change(checkpoint, tmp_path / "inf.pth", config=text)).classes[0] == "circle"


def test_a_config_of_mmdetection_in_a_checkpoint_is_translated():
    text = Config(foreign_config()).pretty_text
    cfg = saved_config({"meta": {"config": text}}, "theirs.pth")
    assert cfg.model.type == "TwoStageDetector"
    assert cfg.test_data.dataset.type == "CocoDataset"


def test_a_pipeline_that_moves_objects_is_refused(checkpoint, tmp_path, tiny):
    cfg = tiny({"test_data.dataset.pipeline": [{"type": "RandomFlip"}]})
    bad = change(checkpoint, tmp_path / "flips.pth", config=cfg.pretty_text)
    with pytest.raises(ValueError, match="pipeline of test_data has RandomFlip"):
        load(bad)


def test_another_number_of_class_names_is_refused(checkpoint, tmp_path):
    bad = change(checkpoint, tmp_path / "five.pth", classes=["a", "b", "c", "d", "e"])
    with pytest.raises(ValueError, match="five.pth names 5 classes, .* of the config has 6"):
        load(bad)


def test_the_first_pipeline_of_joined_data_sets_is_taken(checkpoint, tmp_path, tiny):
    part = tiny().test_data.dataset | {"pipeline": [{"type": "Resize", "scale": (96, 96)}]}
    joined = {"type": "ConcatDataset", "datasets": [part, part]}
    cfg = tiny({"test_data.dataset": {"type": "RepeatDataset", "dataset": joined, "times": 2}})
    model = load(change(checkpoint, tmp_path / "joined.pth", config=cfg.pretty_text))
    assert [transform.scale for transform in model.pipeline] == [(96, 96)]
