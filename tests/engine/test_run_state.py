"""A resumed run continues bit for bit. Run with: pytest tests/engine/test_run_state.py"""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch

from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint
from mmdet_lite.engine.hooks import EarlyStopping, Hook
from mmdet_lite.engine.schedule import GroupWarmup, LinearSchedule
from mmdet_lite.engine.signals import EXIT_PREEMPTED, Preempted

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
ADAMW = {"type": "AdamW", "lr": 0.01}
TIMINGS = ("time", "data_time_share", "memory_mb")


class Crash(Hook):
    """Ends the run in the middle of a step, as a lost machine would."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_step(self, trainer, batch):
        if trainer.iteration == self.iteration:
            raise SystemExit("lost")


class AddNoise(Hook):
    """A user's hook that draws from NumPy's global generator."""

    def before_step(self, trainer, batch):
        batch.images.add_(float(np.random.randn()))


def assert_same(a, b, place="state"):
    assert type(a) is type(b), place
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_same(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{place}[{index}]")
    else:
        assert a == b, place


def logged(folder):
    """Log records by (mode, iteration), later lines first, without timings."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return {
        (line["mode"], line["iter"]): {k: v for k, v in line.items() if k not in TIMINGS}
        for line in lines
    }


CASES = {
    "sgd by epoch": {"optimizer": SGD, "max_epochs": 4, "log_interval": 3},
    "adamw inside an epoch": {
        "optimizer": ADAMW,
        "max_iters": 16,
        "checkpoint_interval": 3,
        "log_interval": 4,
        "val_interval": 6,
    },
    "everything, with accumulated batches": {
        "optimizer": ADAMW,
        "max_iters": 16,
        "checkpoint_interval": 3,
        "log_interval": 5,
        "val_interval": 4,
        "accumulate": 2,
        "clip_grad_norm": 0.5,
        "ema": {"decay": 0.9, "ramp_up": 5},
    },
    "sgd, fp16 with its scaler": {"optimizer": SGD, "max_epochs": 4, "precision": "fp16"},
    "inside the warm-up of groups and momentum, with accumulated batches": {
        "optimizer": SGD,
        "param_groups": {"norm_decay": 0.0, "bias_decay": 0.0, "split_biases": True},
        "schedule": GroupWarmup(LinearSchedule(0.1), warmup_epochs=3, warmup_iters=0),  # to 12
        "max_iters": 16,
        "checkpoint_interval": 3,
        "accumulate": 2,
    },
    "sgd, bf16, channels last, accumulated over an epoch's end": {
        "optimizer": SGD,
        "max_epochs": 4,
        "accumulate": 3,
        "precision": "bf16",
        "channels_last": True,
        "ema": {"decay": 0.9, "ramp_up": 5},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_an_uninterrupted_one(make_trainer, tmp_path, case):
    def make(folder, *hooks):
        every = [AddNoise(), EarlyStopping("toy_mAP", 99), *hooks]
        return make_trainer(work_dir=tmp_path / folder, hooks=every, **CASES[case])

    straight = make("straight")
    straight.train()
    with pytest.raises(SystemExit):
        make("broken", Crash(iteration=11)).train()
    torch.manual_seed(99)
    resumed = make("broken")
    by_epoch = "max_epochs" in CASES[case]
    accumulates = "accumulate" in CASES[case]
    inside = "iter_10.pth" if accumulates else "iter_9.pth"
    resumed.resume(tmp_path / "broken" / ("epoch_2.pth" if by_epoch else inside))
    resumed.train()

    last = "epoch_4.pth" if by_epoch else "iter_16.pth"
    expected = load_checkpoint(tmp_path / "straight" / last)
    assert_same(load_checkpoint(tmp_path / "broken" / last), expected)
    assert logged(tmp_path / "broken") == logged(tmp_path / "straight")


def test_checkpoints_and_validations_wait_for_the_update(make_trainer, tmp_path):
    trainer = make_trainer(
        max_iters=10, checkpoint_interval=4, val_interval=4, accumulate=3, keep_last=9
    )
    trainer.train()
    names = sorted(path.name for path in tmp_path.glob("iter*.pth"))
    assert names == ["iter_10.pth", "iter_6.pth", "iter_9.pth"]
    assert [key[1] for key in logged(tmp_path) if key[0] == "val"] == [6, 9, 10]


def test_a_validation_that_was_missed_comes_first(make_trainer, tmp_path):
    """The checkpoint before a validation is all that a kill during the validation leaves."""

    def killed(model, enter):
        raise SystemExit("lost")

    with pytest.raises(SystemExit):
        make_trainer(work_dir=tmp_path / "broken", evaluate=killed, max_epochs=2).train()
    resumed = make_trainer(work_dir=tmp_path / "broken", max_epochs=2)
    resumed.resume(tmp_path / "broken" / "epoch_1.pth")
    resumed.train()
    straight = make_trainer(work_dir=tmp_path / "straight", max_epochs=2)
    straight.train()
    assert logged(tmp_path / "broken") == logged(tmp_path / "straight")
    assert_same(*(load_checkpoint(tmp_path / n / "epoch_2.pth") for n in ("broken", "straight")))


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_saves_at_the_next_update_and_ends_the_run(make_trainer, tmp_path, signal_name):
    class SendSignal(Hook):
        def before_step(self, trainer, batch):
            if trainer.iteration == 4:
                os.kill(os.getpid(), getattr(signal, signal_name))

    def make(folder, *hooks):
        return make_trainer(work_dir=tmp_path / folder, hooks=hooks, max_iters=9, accumulate=3)

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted) as ended:
        make("broken", SendSignal()).train()
    assert ended.value.code == EXIT_PREEMPTED == 75
    assert signal.getsignal(signal.SIGTERM) is handler
    resumed = make("broken")
    resumed.resume(tmp_path / "broken" / "iter_6.pth")
    resumed.train()
    make("straight").train()
    states = [load_checkpoint(tmp_path / n / "iter_9.pth") for n in ("broken", "straight")]
    for state in states:
        state.pop("hooks")
    assert_same(*states)


def test_a_signal_breaks_off_a_validation_which_is_repeated(make_trainer, tmp_path):
    def interrupted(model, enter):
        os.kill(os.getpid(), signal.SIGTERM)
        enter("validation")
        raise AssertionError("went on")

    with pytest.raises(Preempted):
        make_trainer(evaluate=interrupted, max_epochs=1).train()
    resumed = make_trainer(max_epochs=1)
    resumed.resume(tmp_path / "epoch_1.pth")
    assert "toy_mAP" in resumed.train()


def test_a_finished_run_has_nothing_left_to_do(make_trainer, tmp_path):
    make_trainer(max_epochs=1).train()
    trainer = make_trainer(max_epochs=1)
    trainer.resume(tmp_path / "epoch_1.pth")
    before = trainer.model.fc_cls.weight.detach().clone()
    assert trainer.train() == load_checkpoint(tmp_path / "epoch_1.pth")["metrics"]
    assert torch.equal(trainer.model.fc_cls.weight, before)


def test_a_longer_run_may_continue_a_shorter_one(make_trainer, tmp_path):
    make_trainer(max_epochs=1).train()
    trainer = make_trainer(max_epochs=2)
    trainer.resume(tmp_path / "epoch_1.pth")
    trainer.train()
    assert trainer.iteration == 8


def test_another_best_metric_starts_its_own_comparison(make_trainer, tmp_path):
    def evaluate(model, enter):
        return {"bbox_mAP": 0.5, "segm_mAP": 0.3}

    make_trainer(evaluate=evaluate, max_epochs=1).train()
    trainer = make_trainer(evaluate=evaluate, max_epochs=2, best_metric="segm_mAP")
    trainer.resume(tmp_path / "epoch_1.pth")
    trainer.train()
    assert trainer.best == {"metric": "segm_mAP", "value": 0.3, "iteration": 8}
    assert (tmp_path / "best_segm_mAP.pth").exists()


def test_weights_alone_cannot_be_resumed(make_trainer, toy_model, tmp_path):
    save_checkpoint({"model": toy_model().state_dict()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w.pth holds no run to resume, only model; .*load_from"):
        make_trainer(max_epochs=1).resume(tmp_path / "w.pth")


def test_all_differences_from_the_run_of_the_checkpoint_are_listed(make_trainer, tmp_path):
    make_trainer(max_epochs=1).train()
    other = make_trainer(
        optimizer=ADAMW, max_epochs=1, accumulate=2, ema={"decay": 0.9, "ramp_up": 0}
    )
    with pytest.raises(ValueError) as error:
        other.resume(tmp_path / "epoch_1.pth")
    assert "optimizer was SGD and is AdamW; accumulate was 1 and is 2; ema was False" in str(
        error.value
    )
    assert "start a new run from its weights with load_from" in str(error.value)


def test_other_frozen_layers_are_told(make_trainer, toy_model, tmp_path):
    make_trainer(max_epochs=1).train()
    model = toy_model()
    model.conv.requires_grad_(False)
    with pytest.raises(ValueError, match=r"parameter groups hold other parameters \(frozen"):
        make_trainer(model, max_epochs=1).resume(tmp_path / "epoch_1.pth")


def test_a_model_of_another_shape_is_told_with_the_tensors(make_trainer, toy_model, tmp_path):
    make_trainer(max_epochs=1).train()
    trainer = make_trainer(toy_model(num_classes=5), max_epochs=1)
    with pytest.raises(ValueError, match=r"epoch_1.pth.*\n.*fc_cls.weight \(3, 4\) -> \(5, 4\)"):
        trainer.resume(tmp_path / "epoch_1.pth")


def test_optimizer_settings_that_a_resumed_run_does_not_take_are_told(
    make_trainer, tmp_path, caplog
):
    make_trainer(max_iters=2).train()
    changed = make_trainer(optimizer={**SGD, "lr": 0.5, "momentum": 0.1}, max_iters=4)
    with caplog.at_level("WARNING", "mmdet_lite"):
        changed.resume(tmp_path / "iter_2.pth")
    assert "initial_lr 0.5 by 0.05, momentum 0.1 by 0.9. To train on with others" in caplog.text
    caplog.clear()
    make_trainer(max_iters=4).resume(tmp_path / "iter_2.pth")
    assert "replaces" not in caplog.text


def test_the_warm_up_of_the_momentum_is_no_other_setting(make_trainer, tmp_path, caplog):
    def make(momentum=0.9, length=2):
        return make_trainer(
            optimizer={**SGD, "momentum": momentum},
            param_groups={"split_biases": True},
            schedule=GroupWarmup(LinearSchedule(), warmup_iters=8, warmup_epochs=0),
            max_iters=length,
        )

    first = make()
    first.train()
    assert first.optimizer.param_groups[0]["momentum"] == pytest.approx(0.825)
    resumed = make(length=10)
    assert resumed.optimizer.param_groups[0]["momentum"] == 0.8
    resumed.resume(tmp_path / "iter_2.pth")
    assert "replaces" not in caplog.text
    assert resumed.optimizer.param_groups[0]["momentum"] == pytest.approx(0.825)
    resumed.train()
    assert resumed.optimizer.param_groups[0]["momentum"] == 0.9
    with caplog.at_level("WARNING", "mmdet_lite"):
        make(momentum=0.5).resume(tmp_path / "iter_2.pth")
    assert "this replaces initial_momentum 0.5 by 0.9. To" in caplog.text


def test_other_arithmetic_is_told(make_trainer, tmp_path, caplog, monkeypatch):
    make_trainer(max_iters=2).train()
    with caplog.at_level("WARNING", "mmdet_lite"):
        make_trainer(max_iters=4).resume(tmp_path / "iter_2.pth")
    assert "arithmetic" not in caplog.text
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    with caplog.at_level("WARNING", "mmdet_lite"):
        make_trainer(max_iters=4).resume(tmp_path / "iter_2.pth")
    assert (
        f"iter_2.pth was written with other arithmetic (threads of a process {threads}, now "
        f"{threads + 1}): images" in caplog.text
    )
    assert "the last digits differ" in caplog.text
