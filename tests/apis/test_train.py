"""Whole runs of a tiny model: what they leave behind, and what the settings do."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from mmengine.config import Config

from mmdet_lite.apis.build import build_model, computes_bf16
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import synchronise_batch_norm, train

OWN_HOOK = """
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.registry import HOOKS

@HOOKS.register_module()
class CountSteps(Hook):
    def __init__(self, start):
        self.count = start

    def after_step(self, trainer, losses):
        self.count += 1

    def after_train(self, trainer):
        (trainer.work_dir / "count.txt").write_text(f"{self.count} {trainer.max_iterations}")
"""


def records(work_dir, mode="train"):
    lines = (work_dir / "log.jsonl").read_text().splitlines()
    return [record for line in lines if (record := json.loads(line))["mode"] == mode]


def losses(work_dir):
    return [record["loss"] for record in records(work_dir)]


def weights(file):
    return torch.load(file, weights_only=True)["model"]


@pytest.fixture
def no_curves(monkeypatch):
    """Runs without the picture, which takes longer than the run."""
    monkeypatch.setattr("mmdet_lite.apis.train.plot_curves", lambda *given: None)


@pytest.fixture
def run(tiny, tmp_path, no_curves):
    """Train without validation, with options; gives the folder."""

    def start(name, options=None, config=None):
        options = {"val_data": None, **(options or {})}
        cfg = tiny(options) if config is None else load_config(config, options)
        train(cfg, tmp_path / name)
        return tmp_path / name

    return start


def test_run_leaves_everything_in_its_folder(tiny, tmp_path):
    cfg = tiny({"train.max_iters": 4, "train.val_interval": 2, "seed": 3})
    metrics = train(cfg, tmp_path)
    for name in (
        *("iter_2.pth", "iter_4.pth", "best_segm_mAP.pth", "best_segm_mAP.pth.sha256"),
        *("config.py", "log.jsonl", "train.log", "curves.png", "curves.html"),
    ):
        assert (tmp_path / name).stat().st_size > 50, name
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

    assert [record["iter"] for record in records(tmp_path)] == [1, 2, 3, 4]
    parts = {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"}
    for record in records(tmp_path):
        assert math.isclose(record["loss"], sum(record[part] for part in parts), rel_tol=1e-5)
        assert {"lr", "acc", "grad_norm", "time", "data_time_share", "memory_mb"} <= set(record)
    validations = records(tmp_path, "val")
    assert [record["iter"] for record in validations] == [2, 4]
    for name in ("bbox_mAP", "bbox_mAP_50", "segm_mAP", "segm_mAP_50"):
        assert metrics[name] == validations[-1][name]
    assert metrics["train_seconds"] > 0

    log = (tmp_path / "train.log").read_text()
    assert "seed 3" in log and "iter 4/4" in log and "saved iter_4.pth" in log
    assert "validation at epoch 1, iter 4:  bbox_mAP " in log


def test_written_config_is_the_config_with_its_options(tiny, run):
    options = {"optimizer.lr": 0.25, "train_data.dataset.pipeline.0.prob": 0.75, "seed": 5}
    work_dir = run("run", options)
    written = load_config(work_dir / "config.py")
    assert written.to_dict() == tiny({**options, "val_data": None}).to_dict()
    assert written.optimizer.lr == 0.25


def test_checkpoint_tells_where_it_comes_from(run):
    work_dir = run("run", {"seed": 4})
    meta = torch.load(work_dir / "iter_2.pth", weights_only=True)["meta"]
    assert meta["classes"] == ["circle", "square", "triangle", "star", "ring", "cross"]
    assert (meta["seed"], meta["torch"]) == (4, str(torch.__version__))
    assert Config.fromstring(meta["config"], ".py").optimizer.type == "AdamW"


def test_seed_decides_about_the_run(run):
    first, same, other = (run(f"run{i}", {"seed": seed}) for i, seed in enumerate((1, 1, 2)))
    assert losses(first) == losses(same)
    assert losses(first) != losses(other)
    ours, theirs = weights(first / "iter_2.pth"), weights(same / "iter_2.pth")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_seed_decides_about_the_data_too(run, trained):
    same_weights = {"load_from": str(trained / "iter_2.pth"), "train.max_iters": 1}
    first, other = (run(f"run{i}", {**same_weights, "seed": i}) for i in (1, 2))
    assert losses(first) != losses(other)


def test_number_of_workers_changes_nothing(run):
    first, other = (run(f"run{i}", {"train_data.num_workers": i}) for i in (0, 2))
    assert losses(first) == losses(other)


def test_mixed_precision_gives_nearly_the_same_losses(run):
    exact, mixed = (run(p, {"train.precision": p}) for p in ("float32", "bf16"))
    assert losses(exact) != losses(mixed)
    assert losses(mixed) == pytest.approx(losses(exact), rel=0.02)


def test_deterministic_mode_runs(run):
    try:
        work_dir = run("run", {"train.deterministic": True})
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(math.isfinite(loss) for loss in losses(work_dir))


def test_learning_rate_is_scaled_to_the_batch_and_said_so(run, caplog):
    options = {"auto_scale_lr": {"enable": True, "base_batch_size": 16}, "train.accumulate": 2}
    options |= {"schedule": {"type": "MultiStepSchedule", "milestones": [5]}, "optimizer.lr": 0.04}
    with caplog.at_level(logging.INFO, "mmdet_lite"):
        work_dir = run("run", options)
    assert "0.04 in the config, for batches of 16 images; this run has 4, so 0.01" in caplog.text
    assert records(work_dir)[0]["lr"] == pytest.approx(0.01)


def test_accumulated_gradients_make_one_update(run):
    work_dir = run("run", {"train.max_iters": 5, "train.accumulate": 2})
    updated = ["grad_norm" in record for record in records(work_dir)]
    assert updated == [False, True, False, True, True]  # the remainder at the end is not lost
    state = torch.load(work_dir / "iter_5.pth", weights_only=True)
    assert {int(value["step"]) for value in state["optimizer"]["state"].values()} == {3}


def test_run_without_validation_keeps_its_checkpoint(run):
    work_dir = run("run")
    assert sorted(path.name for path in work_dir.glob("*.pth")) == ["iter_2.pth"]
    assert records(work_dir, "val") == []


def test_run_by_epochs_validates_and_saves_each(tiny, tmp_path, no_curves):
    cfg = tiny({"train": {"max_epochs": 2, "log_interval": 3}, "train_data.batch_size": 3})
    train(cfg, tmp_path)
    assert [(r["epoch"], r["iter"]) for r in records(tmp_path, "val")] == [(1, 3), (2, 6)]
    assert [(r["epoch"], r["iter"]) for r in records(tmp_path)] == [(1, 3), (2, 6)]
    names = {path.name for path in tmp_path.glob("*.pth")}
    assert names == {"epoch_1.pth", "epoch_2.pth", "best_bbox_mAP.pth"}
    assert "epoch 2/2  iter 3/3" in (tmp_path / "train.log").read_text()


def test_early_stopping_ends_the_run(tiny, tmp_path, no_curves):
    hook = {"type": "EarlyStopping", "metric": "segm_mAP_l", "patience": 1}  # no large objects
    cfg = tiny({"train.max_iters": 6, "train.val_interval": 1, "hooks": [hook]})
    train(cfg, tmp_path)
    assert [record["iter"] for record in records(tmp_path, "val")] == [1, 2]
    assert "stopping the run: segm_mAP_l has not risen" in (tmp_path / "train.log").read_text()


def test_hook_of_a_users_own_module_runs(run, tmp_path, monkeypatch):
    (tmp_path / "own_hooks.py").write_text(OWN_HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    options = {"custom_imports.imports": ["own_hooks"]}
    options["hooks"] = [{"type": "CountSteps", "start": 10}]
    assert (run("run", options) / "count.txt").read_text() == "12 2"


@pytest.mark.parametrize("empty", ["some", "all"])
def test_images_without_objects_are_trained_on(run, coco_config, annotations, empty):
    def remove(content):
        kept = [a for a in content["annotations"] if empty == "some" and a["image_id"] < 3]
        content["annotations"] = kept

    config = coco_config(ann_file=annotations(remove))
    options = {"train_data.batch_size": 2, "train.max_iters": 4}
    work_dir = run("run", options, config)
    assert len(losses(work_dir)) == 4 and all(math.isfinite(loss) for loss in losses(work_dir))
    for record in records(work_dir):
        if empty == "all":
            assert record["loss_bbox"] == record["loss_mask"] == record["loss_rpn_bbox"] == 0
    assert all(torch.isfinite(value).all() for value in weights(work_dir / "iter_4.pth").values())


def test_weights_of_other_classes_are_left_out_and_listed(run, trained, coco_config, caplog):
    classes = {"metainfo": {"classes": ["ring", "star"]}}
    options = {
        "load_from": str(trained / "iter_2.pth"),
        "optimizer.lr": 0.0,
        "model.roi_head.bbox_head.num_classes": 2,
        "model.roi_head.mask_head.num_classes": 2,
    }
    with caplog.at_level(logging.WARNING, "mmdet_lite"):
        work_dir = run("run", options, coco_config(**classes))
    assert "these differ and were left out or left as initialised" in caplog.text
    for name in ("fc_cls.weight (7, 16) -> (3, 16)", "fc_reg.bias (24,) -> (8,)", "conv_logits.we"):
        assert name in caplog.text
    before = torch.load(trained / "iter_2.pth", weights_only=True)["ema"]
    after = weights(work_dir / "iter_2.pth")
    name = "neck.fpn_convs.0.conv.weight"
    assert torch.equal(after[name], before[f"module.{name}"])


def test_classes_are_matched_by_name_where_asked_for(run, trained, coco_config):
    options = {
        "load_from": {"path": str(trained / "iter_2.pth"), "match_classes": True},
        "optimizer.lr": 0.0,
        "model.roi_head.bbox_head.num_classes": 2,
        "model.roi_head.mask_head.num_classes": 2,
    }
    config = coco_config(metainfo={"classes": ["ring", "square"]})
    after = weights(run("run", options, config) / "iter_2.pth")
    before = torch.load(trained / "iter_2.pth", weights_only=True)["ema"]
    head = "roi_head.bbox_head.fc_cls.weight"
    assert torch.equal(after[head], before[f"module.{head}"][[4, 1, 6]])  # ring, square, background
    head = "roi_head.bbox_head.fc_reg.bias"
    assert torch.equal(after[head], before[f"module.{head}"].reshape(6, 4)[[4, 1]].flatten())
    head = "roi_head.mask_head.conv_logits.weight"
    assert torch.equal(after[head], before[f"module.{head}"][[4, 1]])


def test_pretrained_backbone_of_a_file_is_loaded(run, trained, tmp_path):
    state = torch.load(trained / "iter_2.pth", weights_only=True)["model"]
    backbone = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backb")}
    torch.save(backbone, tmp_path / "backbone.pth")
    options = {"model.backbone.pretrained": str(tmp_path / "backbone.pth"), "optimizer.lr": 0.0}
    after = weights(run("run", options) / "iter_2.pth")
    assert torch.equal(after["backbone.layer4.1.conv2.weight"], backbone["layer4.1.conv2.weight"])


def test_a_second_run_in_the_same_folder_has_its_own_log(tiny, tmp_path, caplog):
    (tmp_path / "log.jsonl").write_text("of the earlier run\n")
    with caplog.at_level("WARNING", "mmdet_lite"):
        train(tiny({"train.max_iters": 1, "val_data": None}), tmp_path)
    assert f"an earlier run in {tmp_path} was moved to {tmp_path / 'earlier_1'}" in caplog.text
    assert "of the earlier run" not in (tmp_path / "log.jsonl").read_text()


def test_bf16_that_is_emulated_is_warned_of(tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("mmdet_lite.apis.train.computes_bf16", lambda device: False)
    options = {"train.max_iters": 1, "val_data": None}
    with caplog.at_level("WARNING", "mmdet_lite"):
        train(tiny(options), tmp_path / "float32")
        assert "bf16" not in caplog.text
        train(tiny(options | {"train.precision": "bf16"}), tmp_path / "bf16")
    assert "no instructions for bf16, which will be slower than train.precision='fl" in caplog.text


def test_a_cpu_computes_bf16_if_one_of_its_extensions_does(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not computes_bf16(torch.device("cpu"))
    assert computes_bf16(torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert computes_bf16(torch.device("cpu"))


def test_synchronised_batch_norm_is_refused_on_a_cpu(tiny):
    model = build_model(tiny())
    with pytest.raises(ValueError, match="train.sync_bn=True: torch's SyncBatchNorm trains on GPU"):
        synchronise_batch_norm(model, torch.device("cpu"))
    synchronised = synchronise_batch_norm(model, torch.device("cuda"))  # moves nothing by itself
    kinds = {type(m) for name, m in synchronised.named_modules() if "bn" in name}
    assert kinds == {torch.nn.SyncBatchNorm}
    assert synchronised.state_dict().keys() == build_model(tiny()).state_dict().keys()
