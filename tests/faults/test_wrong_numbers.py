"""A number that goes wrong, a worker that dies, an image that rots: told, and nothing lost."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
import torch
from comparison import assert_same, assert_same_run, final_state, logged
from launching import REPOSITORY
from single_run import CONFIG, train_here

from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.engine.checkpoint import load_checkpoint

pytestmark = pytest.mark.faults

_OPTIONS = {
    "train.max_iters": 12,
    "train.checkpoint_interval": 1,
    "train.val_interval": 6,
    "train.keep_last": 12,
    "val_data.dataset.num_images": 4,
}
_LOSSES = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask", "loss")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of the undisturbed run."""
    work_dir = tmp_path_factory.mktemp("straight")
    train_here(work_dir, _OPTIONS)
    return work_dir


def _with_hook(name, **arguments):
    return _OPTIONS | {"hooks": [{"type": "TellPhase"}, {"type": name, **arguments}]}


CAUSES = {
    "a learning rate of 1e20": _OPTIONS | {"optimizer.lr": 1e20, "train.clip_grad_norm": None},
    "an infinite weight": _with_hook("InfiniteWeightAt", iteration=3),
    "infinite boxes": _with_hook("InfiniteBoxesAt", iterations=[3]),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_loss_that_is_not_finite_stops_the_run_and_is_replayed(
    cause, tmp_path, run_cli, record_row
):
    work_dir = tmp_path / "run"
    options = [f"{key}={value}" for key, value in CAUSES[cause].items()]
    result = run_cli("train", CONFIG, "--work-dir", work_dir, "--cfg-options", *options)
    assert result.code == 1, result
    message = result.err
    assert all(f"{name} " in message for name in _LOSSES), message
    iteration = int(re.search(r"not finite at iteration (\d+) \(counted from 0\)", message)[1])
    assert re.search(r"image ids \d+, \d+\n", message), message
    folder = work_dir / f"nonfinite_iter_{iteration}"
    assert sorted(path.name for path in folder.glob("*.pth")) == ["batch_rank_0.pth", "weights.pth"]
    command = re.search(r"^  (python tools/replay_batch.py .*)$", message, re.MULTILINE)[1]
    replay = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{CONFIG.parent}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert replay.returncode == 0, replay
    assert "REPRODUCED" in replay.stdout, replay
    assert "differs" not in replay.stdout, replay
    record_row(
        f"{cause} while training",
        f"stopped at iteration {iteration} with exit code 1 before the weights changed; the "
        "message has all losses, the image ids and a command that reproduced each loss to the bit",
        "nothing before that step: the checkpoint after each one was intact",
    )


def test_bad_steps_are_skipped_without_a_trace_in_the_weights(straight, tmp_path, record_row):
    options = _with_hook("InfiniteBoxesAt", iterations=[4, 5, 8])
    train_here(tmp_path, options | {"train.on_nonfinite": "skip"})
    for before, after in ((4, 5), (5, 6), (8, 9)):
        earlier, later = (load_checkpoint(tmp_path / f"iter_{n}.pth") for n in (before, after))
        for part in ("model", "ema"):
            assert_same(later[part], earlier[part], part)
        assert_same(later["optimizer"]["state"], earlier["optimizer"]["state"])
    skipped = [logged(tmp_path)["train", n]["skipped_steps"] for n in range(1, 13)]
    assert skipped == [0, 0, 0, 0, 1, 2, 2, 2, 3, 3, 3, 3]
    assert final_state(tmp_path)["skips"] == {"skipped": 3, "in_a_row": 0}
    weights = final_state(tmp_path)["model"].values()
    assert all(torch.isfinite(value).all() for value in weights if value.is_floating_point())
    for n in range(1, 5):
        ours, theirs = (load_checkpoint(f / f"iter_{n}.pth")["model"] for f in (tmp_path, straight))
        assert_same(ours, theirs)
    record_row(
        "3 steps with infinite boxes, train.on_nonfinite='skip'",
        "the 3 steps were skipped, warned of and counted; weights, statistics of batch norm, "
        "moving average and optimizer after each are those before it, to the bit",
        "3 steps of 12",
    )


def test_skips_survive_a_resume(tmp_path, record_row):
    boxes = {"type": "InfiniteBoxesAt", "iterations": [4, 5, 8]}
    options = _OPTIONS | {"train.on_nonfinite": "skip", "hooks": [boxes]}
    train_here(tmp_path / "straight", options)
    interrupted = options | {"hooks": [boxes, {"type": "CtrlCAt", "iteration": 5}]}
    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path / "resumed", interrupted)
    train_here(tmp_path / "resumed", options, resume=True)
    assert_same_run(tmp_path / "resumed", tmp_path / "straight", "hooks")
    record_row(
        "resume between two skipped steps",
        "the counts of skipped steps, in all and in a row, go on; bit-identical to the run that "
        "was not interrupted",
        "nothing",
    )


def test_too_many_bad_steps_in_a_row_stop_a_run_that_skips(tmp_path, record_row):
    options = _with_hook("InfiniteWeightAt", iteration=3)
    with pytest.raises(FloatingPointError) as error:
        train_here(tmp_path, options | {"train.on_nonfinite": "skip", "train.max_skips": 3})
    assert "not finite at iteration 5 (counted from 0)" in str(error.value)
    assert "The step was left out 3 times in a row" in str(error.value)
    assert (tmp_path / "nonfinite_iter_5/batch_rank_0.pth").is_file()
    record_row(
        "an infinite weight, train.on_nonfinite='skip', train.max_skips=3",
        "two steps were skipped, the third in a row stopped the run with its batch dumped",
        "the run, which no skip can save: the weight stays infinite",
    )


@pytest.mark.parametrize("iterations", [[4], [4, 8]])
def test_workers_that_are_killed_are_replaced(iterations, straight, tmp_path, record_row):
    options = _with_hook("KillWorkersAt", iterations=iterations)
    train_here(tmp_path, options | {"train_data.num_workers": 2, "val_data.num_workers": 1})
    assert_same_run(tmp_path, straight, "hooks")
    log = (tmp_path / "train.log").read_text()
    warnings = log.count("A data loading worker died, which as a rule means that memory ran out")
    assert warnings >= len(iterations)
    assert log.count("Trying again with new workers.") == warnings
    record_row(
        f"SIGKILL to all data loading workers, number of times: {len(iterations)}",
        f"new workers each time, number of warnings (training and validation): {warnings}; result "
        "bit-identical to the undisturbed run",
        "the batches that the workers had prepared, which were loaded again",
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_becomes_unreadable_is_named(num_workers, tmp_path, run_cli, record_row):
    annotations = ShapesDataset(10, (64, 64)).write(tmp_path / "data")
    file = sorted((tmp_path / "data/images").iterdir())[2]
    dataset = {
        "type": "CocoDataset",
        "ann_file": str(annotations),
        "image_dir": str(file.parent),
        "with_masks": True,
    }
    options = _with_hook("SpoilImageAt", iteration=5, file=str(file)) | {
        "train_data.dataset": dataset,
        "train_data.num_workers": num_workers,
    }
    arguments = [f"{key}={value}" for key, value in options.items()]
    result = run_cli("train", CONFIG, "--work-dir", tmp_path / "run", "--cfg-options", *arguments)
    assert result.code == 1, result
    assert str(file) in result.err, result.err
    assert "Traceback" not in result.err
    record_row(
        f"an image file overwritten during the run, {num_workers} workers",
        f"exit code 1 and: {result.err.strip().splitlines()[0].replace(str(file), 'FILE')}",
        "the iterations since the last checkpoint",
    )
