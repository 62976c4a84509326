"""Run with: pytest tests/engine/test_trainer.py"""

from __future__ import annotations

import json
from itertools import islice

import pytest
import torch
from torch import nn

from mmdet_lite.engine.checkpoint import load_checkpoint, write_checkpoint
from mmdet_lite.engine.hooks import EarlyStopping, Hook
from mmdet_lite.engine.settings import weights_format


class Recorder(Hook):
    def __init__(self):
        self.calls = []

    def before_train(self, trainer):
        self.calls.append("before_train")

    def before_step(self, trainer, batch):
        self.calls.append(f"before_step {trainer.iteration}")

    def after_step(self, trainer, losses):
        assert not losses["loss_cls"].requires_grad
        self.calls.append(f"after_step {trainer.iteration}")

    def after_epoch(self, trainer):
        self.calls.append(f"after_epoch {trainer.epoch}")

    def after_validation(self, trainer, metrics):
        self.calls.append(f"after_validation {list(metrics)}")

    def after_train(self, trainer):
        self.calls.append("after_train")


class Stop(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def after_step(self, trainer, losses):
        if trainer.iteration == self.iteration:
            trainer.stop("enough")


def checkpoints(trainer):
    return sorted(path.name for path in trainer.work_dir.glob("*.pth"))


def records(trainer, mode):
    lines = (trainer.work_dir / "log.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["mode"] == mode]


def scripted_metrics(values):
    """An evaluation that gives these values, one after the other."""
    iterator = iter(values)
    return lambda model, enter: {"bbox_mAP": next(iterator), "segm_mAP": 0.0}


def test_the_loss_falls_on_a_batch_seen_again_and_again(make_trainer, make_batch):
    def loader(start):
        while True:
            yield make_batch(0, size=6)

    trainer = make_trainer(loader=loader, max_iters=100, log_interval=10)
    trainer.train()
    losses = [record["loss"] for record in records(trainer, "train")]
    assert losses[-1] < 0.8 * losses[0]


def test_hooks_are_called_in_order(make_trainer):
    hook = Recorder()
    make_trainer(hooks=[hook], max_epochs=1).train()
    steps = [f"{when}_step {i}" for i in range(4) for when in ("before", "after")]
    assert hook.calls == [
        "before_train",
        *steps,
        "after_epoch 1",
        "after_validation ['toy_mAP']",
        "after_train",
    ]


def test_the_best_and_the_last_checkpoints_are_kept(make_trainer):
    evaluate = scripted_metrics([0.1, 0.3, 0.2, 0.3, 0.1])
    trainer = make_trainer(evaluate=evaluate, max_epochs=5, keep_last=2)
    trainer.train()
    assert checkpoints(trainer) == ["best_bbox_mAP.pth", "epoch_4.pth", "epoch_5.pth"]
    best = load_checkpoint(trainer.work_dir / "best_bbox_mAP.pth")
    assert best["best"] == {"metric": "bbox_mAP", "value": 0.3, "iteration": 8}
    assert best["meta"] == {"classes": ["a", "b", "c"]}


def test_all_checkpoints_are_kept_if_asked_for(make_trainer):
    trainer = make_trainer(max_epochs=5, keep_last=None)
    trainer.train()
    assert [name for name in checkpoints(trainer) if "epoch" in name] == [
        f"epoch_{i}.pth" for i in range(1, 6)
    ]


def test_the_best_is_saved_also_between_two_checkpoints(make_trainer):
    evaluate = scripted_metrics([0.1, 0.3, 0.2])
    trainer = make_trainer(evaluate=evaluate, max_epochs=3, val_interval=1, checkpoint_interval=3)
    trainer.train()
    assert checkpoints(trainer) == ["best_bbox_mAP.pth", "epoch_3.pth"]
    assert load_checkpoint(trainer.work_dir / "best_bbox_mAP.pth")["epoch"] == 2


def test_a_metric_that_is_not_a_number_is_never_the_best(make_trainer):
    trainer = make_trainer(evaluate=scripted_metrics([float("nan")]), max_epochs=1)
    trainer.train()
    assert checkpoints(trainer) == ["epoch_1.pth"]


def test_a_validation_with_nothing_to_find_is_never_the_best_and_that_is_told_once(
    make_trainer, caplog
):
    trainer = make_trainer(evaluate=scripted_metrics([-1, -1]), max_epochs=2)
    trainer.train()
    assert checkpoints(trainer) == ["epoch_1.pth", "epoch_2.pth"]
    (told,) = [r.getMessage() for r in caplog.records if "as the best" in r.getMessage()]
    assert told.startswith("no checkpoint is kept as the best: bbox_mAP is -1, as the validation's")


def test_an_unknown_best_metric_is_told_with_the_known_ones(make_trainer):
    trainer = make_trainer(evaluate=scripted_metrics([0.1]), max_epochs=1, best_metric="mask_mAP")
    with pytest.raises(ValueError, match="'mask_mAP' is not among .* bbox_mAP, segm_mAP"):
        trainer.train()


def test_a_metric_that_no_validation_will_give_is_refused_before_training(make_trainer):
    known = dict(metric_names=["toy_mAP"], max_iters=1)
    with pytest.raises(ValueError, match="best_metric is 'mAP', which is not among .*: toy_mAP"):
        make_trainer(best_metric="mAP", **known)
    trainer = make_trainer(hooks=[EarlyStopping("mAP", 1)], **known)
    with pytest.raises(ValueError, match="EarlyStopping.metric is 'mAP', which is not among"):
        trainer.train()
    assert trainer.iteration == 0


def test_a_run_by_iterations_ends_with_a_validation_and_a_checkpoint(make_trainer):
    trainer = make_trainer(max_iters=6, checkpoint_interval=4, val_interval=4, log_interval=5)
    trainer.train()
    assert checkpoints(trainer) == ["best_toy_mAP.pth", "iter_4.pth", "iter_6.pth"]
    assert [(r["iter"], r["epoch"]) for r in records(trainer, "val")] == [(4, 1), (6, 2)]
    assert [r["iter"] for r in records(trainer, "train")] == [5, 6]


def test_a_hook_can_stop_the_run(make_trainer):
    trainer = make_trainer(hooks=[Stop(iteration=5)], max_epochs=3)
    trainer.train()
    assert trainer.iteration == 6
    assert checkpoints(trainer) == ["best_toy_mAP.pth", "epoch_1.pth", "iter_6.pth"]


def test_accumulated_batches_give_the_step_of_their_mean(make_trainer, make_batch):
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, batch):
            return {"loss": (self.weight * batch.keys.float()).mean()}

    sgd = {"type": "SGD", "lr": 1.0}
    model = Mean()
    trainer = make_trainer(model, sgd, evaluate=None, max_iters=5, accumulate=3)
    factors = [trainer.update.lr_scheduler.lr_lambdas[0](step) for step in range(2)]
    trainer.train()
    means = [make_batch(i).keys.float().mean() for i in range(5)]
    # three batches, then the two that remain
    expected = -factors[0] * sum(means[:3]) / 3 - factors[1] * sum(means[3:]) / 2
    assert model.weight.item() == pytest.approx(float(expected))


def test_the_gradient_is_clipped_and_its_norm_before_that_logged(make_trainer):
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, batch):
            return {"loss": (self.weight * torch.tensor([30.0, 40.0])).sum()}

    model = Steep()
    sgd = {"type": "SGD", "lr": 1000.0}  # the warm-up starts at a thousandth
    trainer = make_trainer(model, sgd, evaluate=None, max_iters=1, clip_grad_norm=1.0)
    trainer.train()
    assert model.weight.tolist() == pytest.approx([-0.6, -0.8])
    assert records(trainer, "train")[0]["grad_norm"] == 50.0


def test_averaged_weights_are_what_is_validated(make_trainer):
    seen = []
    trainer = make_trainer(
        evaluate=lambda model, enter: seen.append(model) or {"mAP": 0.5},
        max_iters=2,
        ema={"decay": 0.9, "ramp_up": 0},
    )
    trainer.train()
    assert seen == [trainer.ema.module]
    assert not torch.equal(trainer.ema.module.fc_cls.weight, trainer.model.fc_cls.weight)
    assert trainer.model.training


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_trains_with_float32_weights(make_trainer, toy_model, precision):
    dtypes = set()
    model = toy_model()
    model.conv.register_forward_hook(lambda module, args, output: dtypes.add(output.dtype))
    trainer = make_trainer(model, evaluate=None, max_iters=4, precision=precision)
    before = model.conv.weight.detach().clone()
    trainer.train()
    assert dtypes == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert model.conv.weight.dtype == torch.float32
    assert not torch.equal(before, model.conv.weight)
    assert ("skipped_steps" in records(trainer, "train")[0]) == (precision == "fp16")


@pytest.mark.parametrize(
    ("chosen", "precision", "device", "expected"),
    [
        (None, "float32", "cpu", True),
        (None, "bf16", "cuda", True),
        (None, "float32", "cuda", False),
        (True, "float32", "cuda", True),
        (False, "bf16", "cpu", False),
    ],
)
def test_memory_format_follows_device_and_precision(chosen, precision, device, expected):
    chosen_format = weights_format(chosen, precision, torch.device(device))
    assert chosen_format == (torch.channels_last if expected else torch.preserve_format)


def test_channels_last_is_the_weights_memory_format(make_trainer):
    trainer = make_trainer(evaluate=None, max_iters=1, channels_last=True)
    trainer.train()
    assert trainer.model.conv.weight.is_contiguous(memory_format=torch.channels_last)


def bad_model(toy_model, bad_iteration):
    """A toy model whose loss is NaN at one iteration (and sane at all others)."""

    class Bad(toy_model):
        calls = 0

        def forward(self, batch):
            losses = super().forward(batch)
            if self.calls == bad_iteration:
                losses["loss_size"] = losses["loss_size"] * torch.nan
            self.calls += 1
            return losses

    return Bad()


@pytest.mark.parametrize("bad_iteration", range(6))
def test_a_bad_step_ends_the_run_before_it_changes_anything(
    make_trainer, toy_model, bad_iteration, tmp_path
):
    model = bad_model(toy_model, bad_iteration)
    trainer = make_trainer(model, max_iters=6, checkpoint_interval=1, keep_last=9)
    with pytest.raises(FloatingPointError) as error:
        trainer.train()
    message = str(error.value)
    title = f"loss_size, loss not finite at iteration {bad_iteration} (counted from 0)\n  loss_cls "
    assert message.startswith(title)
    ids = 1000 + 2 * bad_iteration
    assert "loss_size nan, acc " in message
    assert f"loss nan; image ids {ids}, {ids + 1}\n" in message
    assert checkpoints(trainer) == [f"iter_{i}.pth" for i in range(1, bad_iteration + 1)]
    assert model.calls == bad_iteration + 1

    folder = tmp_path / f"nonfinite_iter_{bad_iteration}"
    assert f"replay_batch.py {tmp_path / 'config.py'} {folder / 'batch_rank_0.pth'}" in message
    if bad_iteration:
        before = load_checkpoint(tmp_path / f"iter_{bad_iteration}.pth")["model"]
        dumped = load_checkpoint(folder / "weights.pth")["model"]
        assert all(torch.equal(dumped[name], before[name]) for name in before)


def test_what_was_reached_before_a_bad_step_is_saved(make_trainer, toy_model):
    trainer = make_trainer(bad_model(toy_model, 5), evaluate=None, max_iters=9)
    with pytest.raises(FloatingPointError):
        trainer.train()
    assert checkpoints(trainer) == ["iter_5.pth"]
    resumed = make_trainer(evaluate=None, max_iters=9)
    resumed.resume(trainer.work_dir / "iter_5.pth")
    resumed.train()
    straight = make_trainer(evaluate=None, max_iters=9, work_dir=trainer.work_dir / "straight")
    straight.train()
    for ours, theirs in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_after_a_bad_step_are_not_validated(make_trainer, toy_model):
    def evaluate(model, enter):
        raise AssertionError("called")

    trainer = make_trainer(bad_model(toy_model, 3), evaluate=evaluate, max_epochs=2)
    with pytest.raises(FloatingPointError, match="at iteration 3 "):
        trainer.train()


class Spoil(Hook):
    """Gives the images of some iterations infinite values, so that the losses are not finite."""

    def __init__(self, *iterations):
        self.iterations = iterations

    def before_step(self, trainer, batch):
        batch.images.fill_(torch.inf if trainer.iteration in self.iterations else 0.5)


class SpoilGradient(Hook):
    """Makes the gradient infinite and leaves the losses alone."""

    def __init__(self, *iterations):
        self.iterations = iterations

    def before_train(self, trainer):
        def spoil(gradient):
            return gradient * torch.inf if trainer.iteration in self.iterations else gradient

        trainer.model.fc_cls.weight.register_hook(spoil)


def test_skipped_steps_change_nothing_but_the_counters(make_trainer, caplog):
    """A run with a bad step in it equals one whose weights stand still at this step."""
    kept = {}

    class Keep(Hook):
        def after_step(self, trainer, losses):
            kept[trainer.iteration] = [v.clone() for v in trainer.model.state_dict().values()]

    trainer = make_trainer(
        hooks=[Spoil(2, 3), Keep()], max_iters=6, on_nonfinite="skip", max_skips=3, log_interval=1
    )
    trainer.train()
    for before, after in zip(kept[1], kept[3], strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(kept[3][0], kept[4][0])
    assert trainer.guard.state_dict() == {"skipped": 2, "in_a_row": 0}
    assert caplog.text.count("skipped a step: ") == 2
    assert [r.get("skipped_steps", 0) for r in records(trainer, "train")] == [0, 0, 1, 2, 2, 2]


def test_what_a_skipped_step_did_to_other_buffers_is_put_back(make_trainer, toy_model):
    """As the losses of some heads follow their own course."""

    def count(module, inputs):
        module.steps += module.training

    model = toy_model()
    model.register_buffer("steps", torch.zeros((), dtype=torch.long))
    model.register_forward_pre_hook(count)
    settings = {"max_iters": 6, "on_nonfinite": "skip", "max_skips": 3}
    make_trainer(model, hooks=[Spoil(2, 3)], **settings).train()
    assert model.steps == 4


def test_a_gradient_that_no_loss_scale_makes_finite_is_skipped_like_any_other(make_trainer):
    """With fp16, too, where the scaler has its own way of leaving out a step."""
    trainer = make_trainer(
        hooks=[SpoilGradient(1, 2)], max_iters=5, precision="fp16", on_nonfinite="skip"
    )
    trainer.update.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    trainer.train()
    assert trainer.guard.skipped == 2 and trainer.iteration == 5


def test_a_run_that_its_validation_ends_is_saved(make_trainer):
    trainer = make_trainer(
        evaluate=scripted_metrics([0.3, 0.2, 0.1]),
        hooks=[EarlyStopping("bbox_mAP", patience=1)],
        max_epochs=9,
        val_interval=1,
        checkpoint_interval=5,
    )
    trainer.train()
    assert checkpoints(trainer) == ["best_bbox_mAP.pth", "epoch_2.pth"]


def test_a_best_checkpoint_that_could_not_be_written_leaves_its_place_to_the_next(
    make_trainer, monkeypatch
):
    def write(state, path):
        if state["iteration"] == 4:
            raise OSError(28, "No space left on device", str(path))
        write_checkpoint(state, path)

    monkeypatch.setattr("mmdet_lite.engine.checkpoint_writer.write_checkpoint", write)
    trainer = make_trainer(evaluate=scripted_metrics([0.3, 0.2, 0.1]), max_epochs=3)
    trainer.train()
    best = load_checkpoint(trainer.work_dir / "best_bbox_mAP.pth")["best"]
    assert best == {"metric": "bbox_mAP", "value": 0.2, "iteration": 8}


def test_skipping_ends_at_too_many_in_a_row(make_trainer):
    trainer = make_trainer(hooks=[Spoil(1, 3, 4, 5)], max_iters=9, on_nonfinite="skip", max_skips=3)
    with pytest.raises(FloatingPointError, match=r"at iteration 5 (.|\n)* 3 times in a row"):
        trainer.train()


def test_a_bad_batch_leaves_out_the_whole_update_that_it_is_part_of(make_trainer):
    trainer = make_trainer(
        hooks=[Spoil(2)], max_iters=4, accumulate=2, on_nonfinite="skip", checkpoint_interval=2
    )
    trainer.train()
    first, second = (
        load_checkpoint(trainer.work_dir / f"iter_{i}.pth")["model"]["fc_cls.weight"]
        for i in (2, 4)
    )
    assert torch.equal(first, second)


def test_running_out_of_gpu_memory_names_the_batch(make_trainer, toy_model):
    class Big(toy_model):
        def forward(self, batch):
            raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    with pytest.raises(MemoryError) as error:
        make_trainer(Big(), max_iters=1).train()
    assert "images (2, 3, 6, 6); picture ids with height x width: 1000 6x6, 1001 6x6" in str(
        error.value
    )
    assert "Lower train_data.batch_size" in str(error.value)


def test_a_loader_that_ends_too_early_is_told(make_trainer, make_batch):
    trainer = make_trainer(loader=lambda start: islice(map(make_batch, range(9)), 3), max_epochs=2)
    with pytest.raises(RuntimeError, match="ended at iteration 3, before the run's 8"):
        trainer.train()


def test_an_interrupted_run_says_how_to_continue(make_trainer, make_batch, caplog):
    def loader(start):
        yield from (make_batch(0), make_batch(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_trainer(loader=loader, max_iters=9).train()
    assert "interrupted at iteration 2 of 9; no checkpoint had been written yet" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        make_trainer(loader=loader, max_iters=9, checkpoint_interval=2).train()
    assert "interrupted at iteration 2 of 9; a resumed run continues from the last" in caplog.text
