"""What ends a run in its midst: it says why, and goes on exactly when the cause is gone."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from comparison import assert_same_run
from launching import Launch
from single_run import SingleRun, train_here

from mmdet_lite.data.samplers import TrainBatchSampler
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.engine.batch_dump import load_batch

pytestmark = pytest.mark.faults

_OPTIONS = {"train.max_iters": 20, "val_data.dataset.num_images": 4}
_LOSSES = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask", "loss")


def stopped(work_dir: Path, options: dict, iteration: int) -> tuple[str, dict[str, float]]:
    """Train until the numbers go wrong, as they must; gives the message and the values in it."""
    with SingleRun(work_dir, options) as run:
        text = run.finish(code=1)
    assert "Traceback" not in text
    message = text.partition("\nerror: ")[2]
    assert f" not finite at iteration {iteration} (counted from 0)\n" in message
    ids = [ref.index + 1 for ref in next(iter(sampler(iteration)))]
    assert f"; image ids {ids[0]}, {ids[1]}\n" in message
    batch, _ = load_batch(work_dir / f"nonfinite_iter_{iteration}/batch_rank_0.pth")
    assert [meta.image_id for meta in batch.metas] == ids
    values = re.findall(r"(\w+) (nan|-?inf|[-+.\de]+)[,;]", message)
    return message, {name: float(value) for name, value in values}


def sampler(iteration: int) -> TrainBatchSampler:
    """The order of fault_config.py's images."""
    return TrainBatchSampler(np.full((10, 2), 64), 2, seed=0, start_iteration=iteration)


def replayed(message: str, output: Path) -> str:
    """Run the command that a message prints, as it is printed; all values must be the run's."""
    (command,) = re.findall(r"^ +(python .*)$", message, re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with Launch(["sh", "-c", command], output, env={"PATH": path}) as launch:
        text = launch.finish()
    assert "\nREPRODUCED: " in text
    assert " differs" not in text
    assert text.count(" identical") >= len(_LOSSES)
    return text


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of the undisturbed run."""
    work_dir = tmp_path_factory.mktemp("straight") / "run"
    train_here(work_dir, _OPTIONS)
    return work_dir


def test_a_weight_that_becomes_infinite(straight, tmp_path, record_row):
    work_dir = tmp_path / "a run"  # a name that a shell takes apart
    hooks = [{"type": "TellPhase"}, {"type": "InfiniteWeightAt", "iteration": 7}]
    message, values = stopped(work_dir, _OPTIONS | {"hooks": hooks}, iteration=7)
    assert math.isfinite(values["loss_bbox"]) and not math.isfinite(values["loss_mask"])
    text = replayed(message, tmp_path / "replay.txt")
    assert "\nWeights not finite: 1\n  roi_head.mask_head.upsample.weight\n" in text
    assert "forward: the output of roi_head.mask_head.upsample (ConvTranspose2d)" in text
    train_here(work_dir, _OPTIONS, resume=True)
    assert_same_run(work_dir, straight, "hooks")
    record_row(
        "a weight that becomes infinite in mid-run, as by a fault of the memory",
        "stopped in the same step with exit code 1; the printed command reproduced all values to "
        "the bit and named weight and layer; resumed without the fault to the same bits as the "
        "undisturbed run",
        "1 finished iteration and the one that was stopped",
    )


def test_a_gradient_that_is_not_finite_though_the_losses_are(tmp_path, record_row):
    options = {
        "custom_imports": {"imports": ["fault_hooks", "number_hooks"]},
        "model.rpn_head.loss_bbox": {"type": "RootLoss"},
    }
    message, values = stopped(tmp_path / "run", options, iteration=0)
    assert message.startswith("grad_norm not finite")
    assert math.isnan(values.pop("grad_norm"))
    assert all(math.isfinite(values[name]) for name in _LOSSES)
    text = replayed(message, tmp_path / "replay.txt")
    assert "backward: SqrtBackward0 in rpn_head.loss_bbox (RootLoss)" in text
    record_row(
        "a user's loss that is finite, with a gradient that is NaN",
        "stopped with exit code 1 before the optimizer saw it; the printed command reproduced all "
        "values to the bit and named the operation",
        "nothing",
    )


def test_an_image_file_that_is_away_for_a_while(tmp_path, record_row):
    annotations = ShapesDataset(10, (64, 64)).write(tmp_path / "data")
    file = sorted((tmp_path / "data/images").iterdir())[3]
    dataset = {
        "type": "CocoDataset",
        "ann_file": str(annotations),
        "image_dir": str(file.parent),
        "with_masks": True,
        "pipeline": [{"type": "RandomFlip", "prob": 0.5}],
    }
    options = _OPTIONS | {"train_data.dataset": dataset}
    with SingleRun(tmp_path / "run", options) as run:
        run.wait_until(lambda moment: moment.iteration >= 4)  # each epoch of 5 reads it once
        file.rename(file.with_suffix(".away"))
        text = run.finish(code=1)
    assert f"\nerror: image id 4: image file not found: {file} " in text
    assert "Traceback" not in text
    file.with_suffix(".away").rename(file)
    train_here(tmp_path / "run", options, resume=True)
    train_here(tmp_path / "straight", options)
    assert_same_run(tmp_path / "run", tmp_path / "straight")
    record_row(
        "an image file that is away for a while in mid-run",
        "stopped with exit code 1, naming image id and file; resumed when it was back, to the same "
        "bits as the undisturbed run",
        "the iterations since the last checkpoint (one every 3)",
    )


def test_loading_workers_killed_in_training_and_in_a_validation(undisturbed, tmp_path, record_row):
    """They end nothing."""
    work_dir = tmp_path / "run"
    with SingleRun(work_dir, {"val_data.num_workers": 1}) as run:
        run.wait_until(lambda moment: moment.iteration >= 5)
        killed = kill_workers(run)
        run.wait_until(lambda moment: moment.iteration >= 20 and moment.phase == "validation")
        killed += kill_workers(run)
        text = run.finish()
    assert killed >= 3
    assert 2 <= text.count("A data loading worker died") <= killed
    assert_same_run(work_dir, undisturbed)
    record_row(
        f"SIGKILL from outside to {killed} loading workers, in training and in a validation",
        "replaced, each death told; everything bit-identical to the undisturbed run",
        "some seconds each, until the death is noticed",
    )


def kill_workers(run: SingleRun) -> int:
    """SIGKILL to the processes that load data; gives their number."""
    pid = run.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    workers = [c for c in children if b"train.py" in Path(f"/proc/{c}/cmdline").read_bytes()]
    for worker in workers:
        os.kill(int(worker), 9)
    return len(workers)
