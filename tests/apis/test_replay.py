"""Run with: pytest tests/apis/test_replay.py"""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from mmdet_lite.apis.build import build_dataset, build_model, build_train
from mmdet_lite.apis.replay import replay
from mmdet_lite.apis.replay_report import report
from mmdet_lite.apis.test import prepare_model
from mmdet_lite.apis.train import train
from mmdet_lite.engine.batch_dump import save_batch
from mmdet_lite.engine.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from mmdet_lite.engine.progress import total_loss
from mmdet_lite.engine.randomness import seed_step
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch

TINY = Path(__file__).parent / "tiny_config.py"
LAYER = "neck.fpn_convs.1.conv"
PLACE = {"iteration": 7, "rank": 1, "seed": 3}


@MODELS.register_module()
class ReplayToy(nn.Module):
    """A loss with dropout, and one whose gradient is infinite where ``offset`` is 0."""

    def __init__(self, offset: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((8,), 0.5))
        self.offset = nn.Parameter(torch.tensor(float(offset)))
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        drawn = self.dropout(self.weight).sum() * batch.images.float().mean()
        return {"loss_drop": drawn, "loss_root": self.offset.square().sqrt()}


def dump(folder: Path, cfg: Config, spoil=lambda model: None, **info) -> Path:
    """Do a step as a run does, and leave its batch and the weights before it."""
    torch.manual_seed(0)
    tiny = Config.fromfile(TINY)
    dataset, source = build_dataset(tiny, "train", 3), build_model(tiny)
    batch = next(iter(build_train(tiny, dataset, source, 0)))
    model = prepare_model(build_model(cfg), cfg, torch.device("cpu")).train()
    spoil(model)
    weights = {"model": model.state_dict(), "meta": {"classes": list(dataset.classes)}}
    save_checkpoint(weights, folder / "weights.pth")

    seed_step(PLACE["seed"], PLACE["iteration"], PLACE["rank"])
    losses = model(batch)
    total = total_loss(losses)
    total.backward()
    norm = get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    values = {k: v.item() for k, v in {**losses, "loss": total, "grad_norm": norm}.items()}
    known = {"precision": "float32", "losses": values, "reason": "loss_x not finite"}
    save_batch(folder / "batch_rank_1.pth", batch, {**PLACE, **known, **info})
    return folder / "batch_rank_1.pth"


def spoil_layer(model):
    model.get_submodule(LAYER).weight.data[3, 2, 0, 0] = math.inf


@pytest.fixture
def toy():
    return lambda **arguments: Config({"model": {"type": "ReplayToy", **arguments}})


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    """The batch of a step of the tiny model with an infinite weight."""
    return dump(tmp_path_factory.mktemp("bad"), Config.fromfile(TINY), spoil_layer)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """The batch of a step in which all is finite."""
    return dump(tmp_path_factory.mktemp("good"), Config.fromfile(TINY))


def test_replay_gives_the_numbers_of_the_run_and_names_the_layer(tiny, bad):
    result = replay(tiny(), bad)
    parts = {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask", "acc"}
    assert result.values.keys() == parts | {"loss", "grad_norm"}
    assert all(map(result.is_identical, result.values))
    assert math.isfinite(result.values["loss_mask"])  # equality is not only that of NaN
    assert result.not_finite == ["loss_rpn_cls", "loss_rpn_bbox", "loss", "grad_norm"]
    assert result.trace.made_by == LAYER
    assert result.bad_weights == [f"{LAYER}.weight"]
    assert f"{LAYER}.weight" in result.bad_gradients
    assert "roi_head.mask_head.conv_logits.weight" not in result.bad_gradients


def test_sound_batch_is_replayed_bit_for_bit(tiny, good):
    result = replay(tiny(), good)
    assert all(math.isfinite(value) for value in result.values.values())
    assert result.values == result.info["losses"]
    assert (result.not_finite, result.bad_gradients, result.bad_weights) == ([], [], [])
    assert (result.trace.made_by, result.trace.received_by) == (None, None)


def test_frozen_layers_act_as_in_the_run(tiny, tmp_path):
    cfg = tiny({"model.backbone.frozen_stages": 1, "model.backbone.norm_eval": True})
    result = replay(cfg, dump(tmp_path, cfg))
    assert result.values == result.info["losses"]
    assert result.num_gradients < 96


def test_batch_that_a_run_left_is_replayed(run_cli, tiny, tmp_path):
    options = {"optimizer.lr": 1e12, "train.max_iters": 4, "val_data": None}
    with pytest.raises(FloatingPointError) as error:
        train(tiny(options), tmp_path)
    batch = tmp_path / "nonfinite_iter_1/batch_rank_0.pth"
    assert f"tools/replay_batch.py {tmp_path / 'config.py'} {batch}\n" in str(error.value)
    result = run_cli("replay-batch", tmp_path / "config.py", batch)
    assert (result.code, result.err) == (0, "")
    assert "differs" not in result.out and "loss_mask      nan  " in result.out
    assert "Weights not finite: 0\n" in result.out  # the bad step has not changed them
    assert "forward: the output of backbone." in result.out


def test_global_generators_are_seeded_as_in_the_step(toy, tmp_path):
    batch = dump(tmp_path, toy())
    torch.manual_seed(99)
    assert replay(toy(), batch).is_identical("loss_drop")
    other = dump(tmp_path, toy(), iteration=8)
    assert not replay(toy(), other).is_identical("loss_drop")


def test_bad_gradient_of_finite_losses_is_traced(toy, tmp_path):
    cfg = toy(offset=0.0)
    result = replay(cfg, dump(tmp_path, cfg))
    assert result.not_finite == ["grad_norm"]
    assert result.bad_gradients == ["offset"]
    assert result.trace.made_by is None
    text = report(result)
    assert "Gradients not finite: 1 of 2\n  offset\n" in text
    assert (
        "backward: SqrtBackward0 in the ReplayToy itself, outside of its modules\n"
        f"    {__file__}:" in text
    )


def test_replay_takes_as_many_threads_as_the_run(toy, tmp_path):
    try:
        replay(toy(), dump(tmp_path, toy(), threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_nothing_is_updated_or_written(tiny, good):
    before = {path: path.read_bytes() for path in good.parent.iterdir()}
    result = replay(tiny(), good)
    assert {path: path.read_bytes() for path in good.parent.iterdir()} == before
    weights = load_checkpoint(good.with_name("weights.pth"))["model"]
    parameters = dict(result.trace.model.named_parameters())
    assert parameters and all(torch.equal(p, weights[name]) for name, p in parameters.items())


def test_weights_are_those_that_were_trained_and_not_their_average(tiny, good, tmp_path):
    model = load_checkpoint(good.with_name("weights.pth"))["model"]
    ema = {f"module.{name}": torch.zeros_like(value) for name, value in model.items()}
    save_checkpoint({"ema": ema, "model": model}, tmp_path / "iter_7.pth")
    result = replay(tiny(), good, weights=tmp_path / "iter_7.pth")
    assert result.weights == tmp_path / "iter_7.pth"
    assert result.values == result.info["losses"]


def test_other_precision_than_the_runs_is_told_apart(tiny, good):
    result = replay(tiny(), good, precision="bf16")
    assert result.values != result.info["losses"]
    assert result.values["loss"] == pytest.approx(result.info["losses"]["loss"], rel=0.05)
    assert "The run computed in float32, this replay in bf16" in report(result)


def test_report_says_where_what_and_from_which_images(tiny, bad):
    text = report(replay(tiny(), bad))
    assert text.startswith(f"Batch    {bad}\n")
    assert " iteration 7 (counted from 0), rank 1, seed 3: loss_x not finite\n" in text
    assert f"Weights  {bad.with_name('weights.pth')}\n" in text
    circumstances = f"float32, cpu, torch {torch.__version__}, 1 CPU threads\n"
    assert f"Run      {circumstances}Replay   {circumstances}" in text
    assert "Images, padded to 2 x 3 x 64 x 64\n" in text
    first, second = (line.split() for line in text.splitlines() if "  shapes/" in line)
    assert first == ["0", "2", "64x64", "1", "0", "shapes/0/1"]
    assert second[0] == "1"
    assert "Odd in the batch\n  nothing\n" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("  loss_rpn_cls"))
    assert row == ["loss_rpn_cls", "nan", "nan", "identical"]
    assert "\nWeights not finite: 1\n  neck.fpn_convs.1.conv.weight\n" in text
    assert f"forward: the output of {LAYER} (Conv2d); its inputs are finite, up to " in text
    assert ", its weights up to inf\n" in text
    assert "backward:" not in text  # it follows from the forward pass
    assert "REPRODUCED: loss_rpn_cls, loss_rpn_bbox, loss, grad_norm not finite.\n" in text
    assert "so an earlier step or the initialisation is to blame" in text


def test_long_lists_of_names_are_cut_and_counted(tiny, bad):
    text = report(replay(tiny(), bad))
    section = text.partition("Gradients not finite: ")[2].partition("\n\n")[0].splitlines()
    count = int(section[0].split(" of ")[0])
    assert len(section) == 12
    assert section[1] == "  backbone.conv1.weight" and section[-1] == f"  and {count - 10} more"


def test_number_made_between_modules_is_told(tiny, good, monkeypatch):
    nowhere = lambda self, priors, boxes: priors * math.nan  # noqa: E731
    monkeypatch.setattr("mmdet_lite.models.coders.DeltaXYWHBBoxCoder.encode", nowhere)
    text = report(replay(tiny(), good))
    assert "the output of the TwoStageDetector itself, outside of its modules; its inputs" in text
    assert "it is seen first in the input of rpn_head.loss_bbox (" in text


def test_finite_losses_of_the_run_hint_at_other_batches(tiny, good):
    text = report(replay(tiny(), good))
    assert "NOT REPRODUCED: all losses and gradients are finite.\n" in text
    assert "The losses are those of the run" in text and "another process" in text


def test_other_losses_than_the_runs_are_told(tiny, tmp_path):
    batch = dump(tmp_path, tiny(), losses={"loss_cls": math.nan, "loss_old": 1.0})
    text = report(replay(tiny(), batch))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if "  loss_" in line}
    assert rows["loss_cls"][1:] == ["nan", "differs"]
    assert rows["loss_old"] == ["-", "1"] and rows["loss_bbox"][1:] == ["-"]
    assert "The losses differ from those of the run." in text


def test_further_info_is_shown(toy, tmp_path):
    text = report(replay(toy(), dump(tmp_path, toy(), node="a17", device="NVIDIA H200")))
    assert "\nnode: a17\n" in text
    assert "Run      float32, NVIDIA H200, torch " in text


def test_command_ends_with_zero_where_it_is_reproduced(run_cli, bad, tmp_path):
    result = run_cli("replay-batch", TINY, bad, "--show-dir", tmp_path / "pictures")
    assert (result.code, result.err) == (0, "")
    assert "\nREPRODUCED: loss_rpn_cls" in result.out
    names = sorted(path.name[:7] for path in (tmp_path / "pictures").iterdir())
    assert names == ["slot_0_", "slot_1_"]


def test_command_ends_with_three_where_it_is_not(run_cli, good):
    result = run_cli("replay-batch", TINY, good)
    assert result.code == 3
    assert "\nNOT REPRODUCED: " in result.out


def test_weights_and_precision_are_given_by_flags(run_cli, bad, good):
    weights = good.with_name("weights.pth")
    result = run_cli("replay-batch", TINY, bad, "--weights", weights, "--precision", "bf16")
    assert result.code == 3
    assert f"Weights  {weights}\n" in result.out
    assert "Replay   bf16, cpu, " in result.out


def test_missing_files_are_named(cli_error, good, tmp_path):
    lonely = tmp_path / "batch_rank_0.pth"
    assert f"batch '{lonely}' does not exist" in cli_error("replay-batch", TINY, lonely)
    lonely.write_bytes(good.read_bytes())
    message = cli_error("replay-batch", TINY, lonely)
    assert message == (
        f"there is no weights.pth beside {lonely}; give the weights before the step, or a "
        "checkpoint of shortly before, with --weights"
    )
    message = cli_error("replay-batch", TINY, lonely, "--weights", tmp_path / "w.pth")
    assert message.startswith(f"--weights '{tmp_path / 'w.pth'}' does not exist")


def test_files_in_each_others_place_are_refused(cli_error, good):
    weights = good.with_name("weights.pth")
    message = cli_error("replay-batch", TINY, weights)
    assert "weights.pth is no dumped batch" in message
    message = cli_error("replay-batch", TINY, good, "--weights", good)
    assert message == (
        f"{good} has no weights under 'model', only format, batch, info; give the weights.pth of a "
        "dumped batch, or a checkpoint of a run"
    )


def test_config_of_another_model_is_refused(tiny, good):
    options = {"model.roi_head.bbox_head.num_classes": 3}
    with pytest.raises(ValueError, match=r"the weights do not fit TwoStageDetector"):
        replay(tiny(options), good)


def test_batch_without_ground_truth_is_refused(tiny, good, tmp_path):
    content = load_checkpoint(good)
    content["batch"]["gt"] = None
    save_checkpoint(content, tmp_path / "batch_rank_0.pth")
    with pytest.raises(ValueError, match=r"batch_rank_0.pth has no ground truth"):
        replay(tiny(), tmp_path / "batch_rank_0.pth")


def test_unknown_precision_is_refused(tiny, good):
    with pytest.raises(ValueError, match="precision is 'fp8', expected float32, bf16, fp16"):
        replay(tiny(), good, precision="fp8")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("name", ["batch_rank_1.pth", "weights.pth"])
def test_hostile_files_are_refused(cli_error, good, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for path in good.parent.glob("*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({"model": Hostile()}, tmp_path / name)
    message = cli_error("replay-batch", TINY, tmp_path / "batch_rank_1.pth")
    assert f"{tmp_path / name} was refused: it holds posix.system" in message
    assert not (tmp_path / "executed").exists()
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / name)
