"""A rank whose batch is unlike the others': without objects, or with a loss that is not finite."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys

import pytest
import torch
from comparison import assert_same, final_state, logged
from launching import Launch, torchrun, train

from mmdet_lite.engine.checkpoint import load_checkpoint

pytestmark = pytest.mark.faults


@pytest.fixture
def run(tmp_path):
    """Train in two processes; gives the folder and what was printed."""

    def start(name, options, code=0):
        command = torchrun(2, train(tmp_path / name, options))
        with Launch(command, tmp_path / f"{name}.txt") as launch:
            return tmp_path / name, launch.finish(code=code)

    return start


def test_ranks_without_objects_train_on(run, record_row):
    ranks = [[], [1], [0], [0, 1], [0, 1], [1]]
    hooks = [{"type": "WithoutObjects", "ranks": ranks}, {"type": "RecordGradients"}]
    work_dir, _ = run("run", {"train.max_iters": len(ranks), "hooks": hooks})
    objects = [json.loads((work_dir / f"objects_rank_{r}.json").read_text()) for r in (0, 1)]
    for iteration, empty in enumerate(ranks):
        assert [r for r in (0, 1) if objects[r][iteration] == 0] == empty
    records = [logged(work_dir)["train", iteration + 1] for iteration in range(len(ranks))]
    assert all(math.isfinite(v) for r in records for k, v in r.items() if "loss" in k)
    assert records[3]["loss_mask"] == 0 and records[1]["loss_mask"] > 0
    for iteration in range(len(ranks)):  # the hook has checked that no parameter is left out
        files = [work_dir / f"gradients_{iteration}_rank_{r}.pth" for r in (0, 1)]
        assert_same(*(torch.load(file, weights_only=True) for file in files))
    record_row(
        "two processes: images without objects on rank 1, on rank 0, on both, twice in a row",
        f"trained on; all losses finite; in each of {len(ranks)} steps every parameter got a "
        "finite gradient, the same on both ranks",
        "nothing",
    )


def test_feature_levels_without_a_positive_get_a_gradient(run, record_row):
    # anchors of 64 to 1024 pixels on images of 48 to 80: those of the upper levels match nothing
    anchors = "model.rpn_head.anchor_generator.scales"
    options = {"train.max_iters": 3, anchors: [16], "hooks": [{"type": "RecordGradients"}]}
    work_dir, _ = run("run", options)
    gradients = torch.load(work_dir / "gradients_0_rank_0.pth", weights_only=True)
    top = {name for name in gradients if re.match(r"neck\.(lateral|fpn)_convs\.3\.", name)}
    assert top and all(gradients[name].isfinite().all() for name in top)
    assert all(math.isfinite(logged(work_dir)["train", i]["loss"]) for i in (1, 2, 3))
    record_row(
        "two processes: feature levels on which no anchor matches an object",
        "trained on; every parameter of these levels got a finite gradient, the losses are finite",
        "nothing",
    )


def test_a_loss_that_is_not_finite_on_one_rank_stops_all(run, record_row, tmp_path):
    hooks = [{"type": "BreakPixelAt", "rank": 1, "iterations": [5]}, {"type": "RecordInput"}]
    work_dir, text = run("run", {"hooks": hooks}, code=1)
    dump = work_dir / "nonfinite_iter_5"
    assert sorted(path.name for path in dump.glob("*.pth")) == ["batch_rank_1.pth", "weights.pth"]
    lines = (work_dir / "input_rank_1.jsonl").read_text().splitlines()
    ids = [line["image_id"] for line in map(json.loads, lines) if line["iteration"] == 5]
    error = text[text.index("not finite at iteration 5") :]
    assert re.search(rf"rank 1: .*loss.* (nan|inf).*; image ids {ids[0]}, {ids[1]}\n", error), error
    assert "rank 0: " not in error.partition("To look into it")[0]
    assert ("train", 6) not in logged(work_dir)

    advised = re.search(r"python (tools/replay_batch.py .*)", error)[1]
    assert str(dump / "batch_rank_1.pth") in advised
    with Launch([sys.executable, *shlex.split(advised)], tmp_path / "replay.txt") as replay:
        shown = replay.finish()
    assert "loss" in shown and ("nan" in shown or "inf" in shown)
    record_row(
        "two processes: a loss on rank 1 alone is not finite",
        "both stopped in that step with exit code 1; the error names rank 1, its losses and its "
        "images; the batch of rank 1 is on disk and the printed command reproduces the loss",
        "nothing: the weights are those before the step",
    )


def test_skipping_leaves_both_ranks_with_the_same_weights(run, record_row):
    hooks = [{"type": "BreakPixelAt", "rank": 1, "iterations": [2, 5]}]
    options = {"train.max_iters": 6, "train.on_nonfinite": "skip", "train.checkpoint_interval": 1}
    work_dir, text = run("run", options | {"hooks": [*hooks, {"type": "RecordGradients"}]})
    assert len(re.findall(r"WARNING: skipped a step: .*not finite at iteration [25]", text)) == 2
    assert "rank 1: " in text
    states = {i: load_checkpoint(work_dir / f"iter_{i}.pth") for i in (2, 3, 5, 6)}
    for before, after in ((2, 3), (5, 6)):
        assert_same(states[after]["model"], states[before]["model"])
        assert_same(states[after]["optimizer"]["state"], states[before]["optimizer"]["state"])
        assert_same(states[after]["ema"], states[before]["ema"])
    updates = sorted(int(p.name.split("_")[1]) for p in work_dir.glob("gradients_*_rank_1.pth"))
    assert updates == [0, 1, 3, 4]
    for iteration in updates:
        files = [work_dir / f"gradients_{iteration}_rank_{r}.pth" for r in (0, 1)]
        assert_same(*(torch.load(file, weights_only=True) for file in files))
    assert final_state(work_dir)["skips"] == {"skipped": 2, "in_a_row": 1}
    assert logged(work_dir)["train", 6]["skipped_steps"] == 2
    record_row(
        "two processes with on_nonfinite='skip': a loss on rank 1 is not finite, twice",
        "both ranks left out both steps; weights, optimizer, moving average and batch norm's "
        "statistics are as before them; the log counts 2",
        "2 steps",
    )
