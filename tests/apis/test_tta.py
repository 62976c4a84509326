"""``test --tta``: its settings, one view as plain testing, processes, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdet_lite.apis import test as test_module
from mmdet_lite.apis.build import build_dataset, build_model, prepare_metric
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.tta import TTASettings, build_tta, read_tta
from mmdet_lite.engine.weights import load_weights
from mmdet_lite.models.nms import SoftNMS
from mmdet_lite.registry import METRICS, build

TINY = Path(__file__).parent / "tiny_config.py"
RESIZE = [{"type": "Resize", "scale": (90, 90)}]


def _test(cfg, checkpoint, folder, tta=True):
    """Metrics, and the text of the files of boxes and of masks."""
    metrics = test_module.test(cfg, checkpoint, out=folder / "found", tta=tta)
    return metrics, *((folder / f"found.{kind}.json").read_text() for kind in ("bbox", "segm"))


@pytest.fixture(scope="module")
def plain(trained, tmp_path_factory):
    """What testing without ``--tta`` gives."""
    cfg = load_config(TINY, {"test_data.dataset.pipeline": RESIZE})
    return _test(cfg, trained / "iter_2.pth", tmp_path_factory.mktemp("plain"), tta=False)


@pytest.mark.parametrize("scale", [None, (90, 90)])
def test_one_view_at_the_scale_of_the_config_is_plain_testing(
    tiny, trained, plain, tmp_path, scale
):
    options = {"tta.scales": [scale], "tta.flips": [None], "test_data.dataset.pipeline": RESIZE}
    assert _test(tiny(options), trained / "iter_2.pth", tmp_path) == plain
    assert len(json.loads(plain[1])) == len(json.loads(plain[2])) > 0


def test_the_section_has_no_effect_without_the_flag(tiny, trained, plain, tmp_path):
    cfg = tiny({"tta.max_per_img": 1, "test_data.dataset.pipeline": RESIZE})
    assert _test(cfg, trained / "iter_2.pth", tmp_path, tta=False) == plain


def test_settings_reach_what_is_built(tiny, trained):
    options = {
        "tta.scales": [[64, 64], [96, 96]],
        "tta.flips": [None, "vertical"],
        "tta.nms": {"type": "SoftNMS", "min_score": 0.01},
        "tta.max_per_img": 7,
    }
    cfg = tiny(options)
    dataset = build_dataset(cfg, "test", seed=0)
    model, loader = build_tta(cfg, read_tta(cfg), build_model(cfg).eval(), dataset)
    views = next(iter(loader))
    shapes = [(batch.metas[0].shape, batch.metas[0].flip) for batch in views.batches]
    sizes = [(64, 64), (96, 96)]
    assert shapes == [(size, flip) for size in sizes for flip in ("", "vertical")]
    assert isinstance(model.nms, SoftNMS) and model.nms.min_score == 0.01
    assert model(views).valid.sum(dim=1).max() <= 7


def test_parts_of_two_processes_are_the_whole_of_one(tiny, trained, monkeypatch):
    cfg = tiny({"tta.scales": [(64, 64), (96, 96)], "test_data.batch_size": 1})
    dataset = build_dataset(cfg, "test", seed=0)
    model = build_model(cfg)
    load_weights(model, trained / "iter_2.pth")

    def results(rank: int, world_size: int):
        monkeypatch.setattr("mmdet_lite.apis.tta.rank", lambda: rank)
        monkeypatch.setattr("mmdet_lite.apis.tta.world_size", lambda: world_size)
        metric = build(cfg.metric, METRICS)
        prepare_metric(metric, dataset, model, "test")
        wrapped, loader = build_tta(cfg, read_tta(cfg), model.eval(), dataset)
        for views in loader:
            metric.process(wrapped(views), views.metas)
        return metric, metric.results()

    metric, whole = results(0, 1)
    parts = [results(rank, 2)[1] for rank in range(2)]
    assert [part.seen.tolist() for part in parts] == [[1, 3], [2, 4]]
    merged = metric.merge(parts)
    assert metric.compute(merged) == metric.compute(whole)
    merged, whole = merged.sort_by_image(), whole.sort_by_image()
    assert len(whole) > 0 and merged.rles == whole.rles
    assert np.array_equal(merged.boxes, whole.boxes)
    assert np.array_equal(merged.scores, whole.scores)


def test_command_writes_what_it_writes_without_views(run_cli, trained, tmp_path, caplog):
    result = run_cli(
        *("test", TINY, trained / "iter_2.pth", "--tta", "--out-metrics", tmp_path / "m.json"),
        *("--out", tmp_path / "found", "--show-dir", tmp_path / "vis", "--show-num", 1),
        *("--cfg-options", "tta.scales=[(64,64),(96,96)]", "test_data.dataset.num_images=2"),
    )
    assert result.code == 0, result.err
    assert "test-time augmentation: 4 views of every image" in caplog.text
    assert {"bbox_mAP", "segm_mAP"} <= set(json.loads((tmp_path / "m.json").read_text()))
    for kind in ("bbox", "segm"):
        assert json.loads((tmp_path / f"found.{kind}.json").read_text())
    assert len(list((tmp_path / "vis").iterdir())) == 1


def test_default_views_are_the_image_and_its_mirror_image(run_cli, trained, caplog):
    one_image = ("--cfg-options", "test_data.dataset.num_images=1")
    result = run_cli("test", TINY, trained / "iter_2.pth", "--tta", *one_image)
    assert result.code == 0, result.err
    assert "test-time augmentation: 2 views of every image" in caplog.text


def test_a_model_without_masks_is_tested_on_boxes(tiny, trained, tmp_path):
    state = torch.load(trained / "iter_2.pth", weights_only=True)["model"]
    boxes_only = {name: value for name, value in state.items() if "mask_head" not in name}
    torch.save({"state_dict": boxes_only}, tmp_path / "boxes.pth")
    options = {
        "model.roi_head.mask_head": None,
        "model.roi_head.mask_roi_extractor": None,
        "metric.metrics": ["bbox"],
        "test_data.dataset.num_images": 2,
    }
    metrics = test_module.test(tiny(options), tmp_path / "boxes.pth", tta=True)
    assert all(name.startswith("bbox_") for name in metrics)


def test_everything_wrong_with_the_settings_is_told_at_once():
    with pytest.raises(ValueError) as caught:
        TTASettings((1333, 800), [True], "yes", "NMS", 0)
    assert str(caught.value) == (
        "config: tta: scales is (1333, 800), expected a list of (long, short) edges or None; "
        "flips is [True], expected a list of None, 'horizontal', 'vertical'; "
        "keep_ratio is 'yes', expected True or False; "
        "nms is 'NMS', expected a dict with a type, or None; "
        "max_per_img is 0, expected a whole number above 0"
    )


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"scales": []}, "scales is []"),
        ({"scales": [(1333, 0)]}, "scales is [(1333, 0)]"),
        ({"scales": [(1333, 800, 3)]}, "scales is [(1333, 800, 3)]"),
        ({"flips": ["diagonal"]}, "flips is ['diagonal']"),
        ({"flips": "horizontal"}, "flips is 'horizontal'"),
        ({"max_per_img": True}, "max_per_img is True"),
    ],
)
def test_a_bad_value_is_named(settings, wrong):
    with pytest.raises(ValueError) as caught:
        TTASettings(**settings)
    assert wrong in str(caught.value)


def test_mistakes_are_told_before_anything_is_built(cli_error, trained):
    command = ("test", TINY, "nothing.pth", "--tta", "--cfg-options")
    message = cli_error(*command, "tta.scale=[(64,64)]")
    assert message == (
        "config: tta has unknown 'scale' (did you mean 'scales'?); known: scales, flips, "
        "keep_ratio, nms, max_per_img"
    )
    assert cli_error(*command, "tta.flips=[left]").startswith("config: tta: flips is ['left']")


def test_a_pipeline_that_resizes_at_random_is_refused(tiny, trained):
    random = [{"type": "RandomResize", "scale": [(64, 64), (96, 96)]}]
    cfg = tiny({"test_data.dataset.pipeline": random, "tta.scales": [(64, 64)]})
    with pytest.raises(ValueError, match="tta.scales take the place of one Resize, but .*has Rand"):
        test_module.test(cfg, trained / "iter_2.pth", tta=True)


def test_a_file_config_holds_the_section(tmp_path, trained):
    path = tmp_path / "with_tta.py"
    path.write_text(f"_base_ = {str(TINY)!r}\ntta = dict(scales=[(64, 64)], flips=['vertical'])\n")
    settings = read_tta(load_config(path))
    assert settings == TTASettings(scales=[(64, 64)], flips=["vertical"])
