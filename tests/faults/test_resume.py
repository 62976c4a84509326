"""Wherever a run is interrupted, and with how many workers it goes on, the result is the same."""

from __future__ import annotations

import time

import pytest
from comparison import assert_same, assert_same_run, best_states, final_state, logged
from single_run import CONFIG, train_here

from mmdet_lite.apis.build import build_dataset
from mmdet_lite.apis.config import load_config
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.samplers import TrainBatchSampler
from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.faults

# 4 epochs of 5 iterations: warm-up to iteration 8, lower learning rate from 15, augmentation off
# and backbone frozen from 10. The checkpoint of each iteration is kept.
_OPTIONS = {
    "train.max_iters": 20,
    "train.checkpoint_interval": 1,
    "train.val_interval": 8,
    "train.keep_last": 20,
    "schedule.milestones": [3],
    "train_data.dataset.type": "PhasedShapes",
    "train_data.dataset.plain_from": 2,
    "hooks": [{"type": "FreezeBackbone", "epoch": 2}],
    "val_data.dataset.num_images": 4,
}
_PLACES = {
    4: "in the warm-up",
    5: "at an epoch's edge",
    7: "in the middle of an epoch",
    10: "across a switch of phases (augmentation off, backbone frozen)",
    13: "after the switch of phases",
    15: "at the fall of the learning rate",
    16: "just after the fall of the learning rate, and after a validation",
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of the undisturbed run."""
    work_dir = tmp_path_factory.mktemp("straight")
    train_here(work_dir, _OPTIONS)
    return work_dir


def test_the_phases_are_real(straight):
    """Otherwise the resume across them would show nothing."""
    states = {n: load_checkpoint(straight / f"iter_{n}.pth")["model"] for n in (9, 10, 11)}
    convolutions = [states[n]["backbone.conv1.weight"] for n in (9, 10, 11)]
    assert not convolutions[0].equal(convolutions[1])
    assert convolutions[1].equal(convolutions[2])
    assert logged(straight)["train", 16]["lr"] == pytest.approx(5e-4)
    assert logged(straight)["train", 15]["lr"] == pytest.approx(5e-3)
    dataset = _dataset()
    sizes = [{dataset[SampleRef(i, epoch)].size for i in range(10)} for epoch in (1, 2)]
    assert len(sizes[0]) > 1
    assert sizes[1] == {(64, 64)}


def _dataset():
    return build_dataset(load_config(CONFIG, _OPTIONS), "train", seed=0)


@pytest.mark.parametrize("iteration", _PLACES)
def test_a_resume_anywhere(iteration, straight, tmp_path, record_row):
    for num_workers in (0, 1, 2):
        options = _OPTIONS | {"train_data.num_workers": num_workers}
        work_dir = tmp_path / str(num_workers)
        train_here(work_dir, options, resume=straight / f"iter_{iteration}.pth")
        assert_same(final_state(work_dir), final_state(straight))
        assert _logged_after(iteration, work_dir) == _logged_after(iteration, straight)
        for name, best in best_states(work_dir).items():
            assert_same(best, best_states(straight)[name])
    record_row(
        f"resume at iteration {iteration}, {_PLACES[iteration]}, with 0, 1 and 2 workers",
        "final state and everything logged bit-identical to the undisturbed run's with 1 worker",
        "nothing",
    )


def _logged_after(iteration, work_dir):
    return {place: record for place, record in logged(work_dir).items() if place[1] > iteration}


# Mosaic and mixup until the third epoch, biases and momentum warmed up to iteration 13.
_ONE_STAGE = {
    "train.max_iters": 14,
    "train.checkpoint_interval": 1,
    "train.val_interval": 14,
    "train.keep_last": 14,
    "train_data.dataset.pipeline": [
        {
            "type": "UntilEpoch",
            "epoch": 2,
            "transforms": [
                {"type": "Mosaic", "size": (48, 48)},
                {"type": "RandomAffine", "size": (64, 64), "degrees": 10},
                {"type": "MixUp", "prob": 0.5},
            ],
            "then": [{"type": "Letterbox", "size": (64, 64)}],
        },
        {"type": "UntilIteration", "iteration": 12, "transforms": [{"type": "HSVJitter"}]},
    ],
    "optimizer": {"type": "SGD", "lr": 5e-3, "momentum": 0.9},
    "param_groups": {"norm_decay": 0.0, "bias_decay": 0.0, "split_biases": True},
    "schedule": {
        "type": "GroupWarmup",
        "schedule": {"type": "LinearSchedule"},
        "warmup_epochs": 1,
        "warmup_iters": 13,
    },
}


def test_a_resume_across_the_end_of_mosaic_in_a_warm_up_of_groups(tmp_path, record_row):
    train_here(tmp_path / "straight", _ONE_STAGE)
    states = {n: load_checkpoint(tmp_path / f"straight/iter_{n}.pth") for n in (8, 14)}
    groups = {n: state["optimizer"]["param_groups"] for n, state in states.items()}
    assert 0.8 < groups[8][0]["momentum"] < groups[14][0]["momentum"] == 0.9
    assert len({group["lr"] for group in groups[8]}) == 2
    for iteration, num_workers in ((8, 0), (10, 2), (12, 1)):
        work_dir = tmp_path / str(iteration)
        options = _ONE_STAGE | {"train_data.num_workers": num_workers}
        train_here(work_dir, options, resume=tmp_path / f"straight/iter_{iteration}.pth")
        assert_same(final_state(work_dir), final_state(tmp_path / "straight"))
    record_row(
        "resume across the end of mosaic and mixup, while biases and momentum are warmed up",
        "final state bit-identical to the undisturbed run's, with 0, 1 and 2 workers",
        "nothing",
    )


def test_a_resume_of_a_resumed_run(straight, tmp_path, record_row):
    for interrupted_at in (4, 6, 11, 12, 17):
        hooks = [*_OPTIONS["hooks"], {"type": "CtrlCAt", "iteration": interrupted_at}]
        options = _OPTIONS | {"hooks": hooks, "train.checkpoint_interval": 3}
        with pytest.raises(KeyboardInterrupt):
            train_here(tmp_path, options, resume=True)
    train_here(tmp_path, _OPTIONS | {"train.checkpoint_interval": 3}, resume=True)
    assert_same_run(tmp_path, straight, "hooks")
    record_row(
        "resume of a resumed run, to the fifth generation",
        "final and best checkpoints and everything logged bit-identical to the undisturbed run's",
        "the iterations since the last checkpoint, each time",
    )


def test_a_resume_of_a_long_run_loads_nothing_that_it_has_seen(straight, tmp_path, record_row):
    million = 10**6
    state = load_checkpoint(straight / "iter_10.pth")
    state["iteration"] = million
    state["lr_scheduler"]["last_epoch"] = million
    save_checkpoint(state, tmp_path / "iter_1000000.pth")
    seen, seconds = {}, {}
    for start in (10, million):
        record = tmp_path / f"samples_{start}.txt"
        options = _OPTIONS | {
            "train.max_iters": start + 4,
            "train.val_interval": 10 * million,
            "train.checkpoint_interval": 10 * million,
            "train_data.num_workers": 0,
            "train_data.dataset.record": str(record),
        }
        folder = straight if start == 10 else tmp_path
        started = time.perf_counter()
        train_here(tmp_path / str(start), options, resume=folder / f"iter_{start}.pth")
        seconds[start] = time.perf_counter() - started
        seen[start] = [tuple(map(int, line.split())) for line in record.read_text().splitlines()]
    sampler = TrainBatchSampler(_dataset().image_sizes, batch_size=2, seed=0)
    epoch = million // sampler.iterations_per_epoch
    assert seen[million] == [(epoch, index) for index in sampler.epoch_order(epoch)[:8]]
    assert len(seen[10]) == 8
    assert seconds[million] < seconds[10] + 2
    record_row(
        "resume at iteration 1,000,000",
        f"loads the 8 samples of the 4 iterations that follow, and no other; with them it took "
        f"{seconds[million]:.1f} s, from iteration 10 {seconds[10]:.1f} s",
        "nothing",
    )
