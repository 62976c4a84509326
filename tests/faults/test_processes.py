"""Several processes: killed, preempted, and resumed by as many or another number of processes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time

import pytest
import torch
from comparison import assert_same, assert_same_run, final_state, logged
from launching import (
    COMPARABLE,
    START_SECONDS,
    Launch,
    alone,
    announced,
    computed_again,
    torchrun,
    train,
    wait_for_iteration,
)

from mmdet_lite.engine.checkpoint import load_checkpoint

pytestmark = pytest.mark.faults

KILLS = 5
LENGTH = 18  # iterations of processes_config.py
SAME = "weights, optimizer, moving average, best metric and everything logged bit-identical"


@pytest.fixture
def run(tmp_path):
    """Train to the end (or to an expected exit code), by one process or several."""

    def start(folder, options=None, *arguments, processes=2, code=0):
        script = train(tmp_path / folder, options, *arguments)
        command = alone(script) if processes == 1 else torchrun(processes, script)
        output = tmp_path / f"output_{len(list(tmp_path.glob('output_*')))}.txt"
        with Launch(command, output) as launch:
            return launch.finish(code=code)

    return start


def hooks(*others):
    return {"hooks": [{"type": "Announce"}, *others]}


def signal_at(iteration, rank=0):
    return {"type": "SignalAt", "iteration": iteration, "rank": rank}


def test_a_rank_killed_at_random_iterations_is_restarted_by_torchrun(
    two_processes, tmp_path, record_row
):
    rng = random.Random(0)
    iterations = sorted(rng.sample(range(1, LENGTH - 1), KILLS))
    work_dir, seen, ranks = tmp_path / "killed", [], []
    command = torchrun(2, train(work_dir), "--max-restarts", KILLS)
    with Launch(command, tmp_path / "output.txt") as launch:
        for iteration in iterations:
            ranks.append(rng.randrange(2))
            pid = wait_for_iteration(launch, work_dir, ranks[-1], iteration, seen)
            time.sleep(rng.uniform(0, 0.3))  # anywhere in a step or two
            seen += [known for known, _ in announced(work_dir).values()]
            os.kill(pid, signal.SIGKILL)
        launch.finish((KILLS + 1) * START_SECONDS)
    log = (work_dir / "train.log").read_text()
    assert not (work_dir / "earlier_1").exists()
    assert_same_run(work_dir, two_processes)
    record_row(
        f"two processes: SIGKILL to rank {', '.join(map(str, ranks))} at iteration "
        f"{', '.join(map(str, iterations))} of {LENGTH}, under torchrun --max-restarts {KILLS}",
        f"torchrun restarted the run {KILLS} times and it resumed by itself "
        f"{log.count('resumed from')} times (before the first checkpoint it began anew); {SAME} "
        "to the undisturbed run of two processes",
        f"{computed_again(work_dir)} iterations computed again (a checkpoint every 4)",
    )


@pytest.mark.parametrize("name", [(), ("--rdzv-id", "night")], ids=["own id", "the same id"])
def test_a_restart_before_anything_is_written_does_not_resume_an_older_run(
    two_processes, tmp_path, record_row, name
):
    work_dir = tmp_path / "run"
    shutil.copytree(two_processes, work_dir)
    if name:
        (work_dir / ".launch").write_text(f"torchrun {name[1]}\n")
    options = hooks({"type": "DieBeforeTheRun", "rank": 1}) | {"train.max_iters": 4}
    launcher = torchrun(2, train(work_dir, options), "--max-restarts", 1)
    if name:
        launcher = [part for part in launcher if part != "--standalone"]
        launcher[3:3] = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *name]
    with Launch(launcher, tmp_path / "output.txt") as launch:
        text = launch.finish()
    assert f"an earlier run in {work_dir} was moved to {work_dir}/earlier_1" in text
    assert "resumed from" not in text
    assert [key for key in logged(work_dir) if key[0] == "train"] == [
        ("train", iteration) for iteration in range(1, 5)
    ]
    assert_same_run(work_dir / "earlier_1", two_processes)
    again = "; the launch before had the same --rdzv-id" if name else ""
    record_row(
        "two processes: a rank killed before the new run has written anything, in the work dir of "
        f"an older run{again}",
        "the restarted run began anew; the older run was set aside, whole, in earlier_1/",
        "nothing",
    )


def images(work_dir):
    """(slot, image id, pixels, key) of the images of each iteration, over all ranks."""
    lines = [
        json.loads(line)
        for path in work_dir.glob("input_rank_*.jsonl")
        for line in path.read_text().splitlines()
    ]
    order = {line["iteration"]: set() for line in lines}
    for line in lines:
        order[line["iteration"]].add((line["slot"], line["image_id"], line["pixels"], line["key"]))
    return order


def drift(ours, theirs):
    """The largest difference of a weight, relative to the largest weight of its tensor."""
    return max(
        ((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).item()
        for a, b in zip(ours["model"].values(), theirs["model"].values(), strict=True)
        if a.is_floating_point()
    )


def test_one_process_two_and_one_again_see_the_same_images_in_the_same_order(
    run, tmp_path, record_row
):
    record = {"type": "RecordInput"}
    one = COMPARABLE | {"train_data.batch_size": 4}
    run("straight", one | hooks(record), processes=1)
    run("changed", one | hooks(record, signal_at(4)), processes=1, code=75)
    first = run("changed", COMPARABLE | hooks(record, signal_at(10, rank=1)), "--resume", code=1)
    assert "saved iter_11.pth and leaving" in first, first
    second = run("changed", one | hooks(record), "--resume", processes=1)
    straight, changed = tmp_path / "straight", tmp_path / "changed"
    assert "was written with other arithmetic (processes 1, now 2)" in first
    assert "was written with other arithmetic (processes 2, now 1)" in second
    assert "images, their order and their pixels are the same" in first
    assert images(changed) == images(straight)
    assert sorted(images(straight)) == list(range(LENGTH))
    difference = drift(final_state(changed), final_state(straight))
    assert difference < 1e-3
    record_row(
        "a run of one process with batch 4, continued by two with batch 2, and by one again",
        "image ids, pixels and sampling keys of all "
        f"{LENGTH} iterations identical to one process throughout; a warning tells that sums are "
        "taken in another order",
        f"nothing; weights within {difference:.1g} of a tensor's largest",
    )


def test_three_processes_resume_bit_for_bit(run, tmp_path, record_row):
    options = {"train_data.batch_size": 1, "train_data.dataset.num_images": 15}
    run("straight", options | hooks(), processes=3)
    left = run("left", options | hooks(signal_at(6, rank=2)), processes=3, code=1)
    assert "saved iter_7.pth and leaving" in left, left
    assert "resumed from" in run("left", options | hooks(), "--resume", processes=3)
    assert_same_run(tmp_path / "left", tmp_path / "straight", "hooks")
    record_row(
        "three processes, SIGUSR1 to rank 2 in iteration 6",
        f"all left with a checkpoint; resumed: {SAME} to the undisturbed run",
        "nothing",
    )


def test_layers_frozen_in_mid_run(run, tmp_path, record_row):
    freeze = {"type": "FreezeBackbone", "epoch": 1}  # iteration 5: amidst an update's batches
    options = COMPARABLE | {"train.accumulate": 2, "train_data.dataset.pipeline": []}
    three = options | {"train_data.batch_size": 1, "train_data.dataset.num_images": 15}
    run("straight", three | hooks(freeze), processes=3)
    left = run("left", three | hooks(freeze, signal_at(8, rank=1)), processes=3, code=1)
    assert "saved iter_10.pth and leaving" in left, left
    run("left", three | hooks(freeze), "--resume", processes=3)
    assert_same_run(tmp_path / "left", tmp_path / "straight", "hooks")

    frozen, weights = load_checkpoint(tmp_path / "left/iter_10.pth"), final_state(tmp_path / "left")
    backbone = [n for n in weights["model"] if n.startswith("backbone") and n.endswith("weight")]
    assert all(torch.equal(frozen["model"][n], weights["model"][n]) for n in backbone)
    run("alone", three | hooks(freeze) | {"train_data.batch_size": 3}, processes=1)
    difference = drift(final_state(tmp_path / "alone"), weights)
    assert difference < 1e-3
    record_row(
        "three processes: a hook freezes the backbone in mid-run, between the batches of an update",
        f"trained on, without the frozen layers; weights within {difference:.1g} of a tensor's "
        f"largest of those of one process; after SIGUSR1 and a resume {SAME}",
        "nothing",
    )


def test_a_sharded_optimizer_gives_the_same_weights_and_resumes(run, tmp_path, record_row):
    sharded = COMPARABLE | {"train.shard_optimizer": True}
    run("plain", COMPARABLE)
    run("whole", sharded)
    left = run("left", sharded | hooks(signal_at(9, rank=1)), code=1)
    assert "saved iter_10.pth and leaving" in left, left
    shutil.copytree(tmp_path / "left", tmp_path / "alone")
    run("left", sharded | hooks(), "--resume")
    assert_same_run(tmp_path / "left", tmp_path / "whole", "hooks")
    assert_same_run(tmp_path / "whole", tmp_path / "plain")

    one = COMPARABLE | {"train_data.batch_size": 4} | hooks()
    text = run("alone", one, "--resume", processes=1)
    assert "was written with other arithmetic (processes 2, now 1)" in text
    difference = drift(final_state(tmp_path / "alone"), final_state(tmp_path / "plain"))
    assert difference < 1e-3
    record_row(
        "train.shard_optimizer=True (ZeRO-1) in two processes; SIGUSR1 to rank 1, resumed by two "
        "processes, and by one without it",
        f"{SAME} to the optimizer that is not sharded, and after the resume by two processes; "
        f"resumed by one, weights are within {difference:.1g} of a tensor's largest",
        "nothing",
    )


def test_accumulated_batches_send_gradients_once_an_update(run, tmp_path, record_row):
    common = {"train_data.batch_size": 1, "train.max_iters": 4, "train.clip_grad_norm": None}
    observed = hooks({"type": "CountTraffic"}, {"type": "RecordGradients"})
    run("accumulated", common | observed | {"train.accumulate": 2})
    run("apart", common | observed | {"optimizer.lr": 0.0})
    accumulated, apart = tmp_path / "accumulated", tmp_path / "apart"
    # the first step also has what the one before it sent, of which no trace is left
    traffic = json.loads((accumulated / "traffic.json").read_text())[1:]
    each = json.loads((apart / "traffic.json").read_text())[1:]
    assert each[0] > 0 and len(set(each)) == 1
    assert traffic == [each[0], 0, each[0]]

    def gradients(folder, iteration, rank=0):
        return torch.load(folder / f"gradients_{iteration}_rank_{rank}.pth", weights_only=True)

    update, parts = gradients(accumulated, 1), [gradients(apart, i) for i in (0, 1)]
    assert_same(update, gradients(accumulated, 1, rank=1))
    means = {name: (parts[0][name] + parts[1][name]) / 2 for name in update}
    difference = max(
        ((update[n] - means[n]).abs().max() / means[n].abs().max().clamp(min=1e-12)).item()
        for n in update
    )
    assert difference < 1e-5
    record_row(
        "two processes with train.accumulate=2",
        f"gradient buckets sent in iterations 2 to 4: {traffic} (without accumulation {each}); the "
        f"first update's gradient is the mean of its two batches' to {difference:.1g}",
        "nothing",
    )


def test_sigterm_to_torchrun_saves_on_all_ranks(two_processes, run, tmp_path, record_row):
    work_dir = tmp_path / "left"
    with Launch(torchrun(2, train(work_dir)), tmp_path / "left.txt") as launch:
        wait_for_iteration(launch, work_dir, 0, 7)
        launch.process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        code = launch.wait(60)
        seconds = time.monotonic() - sent
        text = launch.text()
    saved = re.search(r"SIGTERM: saved (iter_\d+\.pth) and leaving; start again with", text)
    assert saved, text
    assert "mmdet_lite/engine" not in text, f"a traceback of ours:\n{text}"
    run("left", None, "--resume")
    assert_same_run(work_dir, two_processes)
    record_row(
        "SIGTERM to torchrun with two processes",
        f"both saved together ({saved[1]}) and left; torchrun ended with exit code {code} after "
        f"{seconds:.1f} s; resumed: {SAME}",
        f"{computed_again(work_dir)} iterations",
    )


def test_sigusr1_to_one_rank_lets_all_leave_together(two_processes, run, tmp_path, record_row):
    text = run("left", hooks(signal_at(9, rank=1)), code=1)
    assert "a signal to another process: saved iter_10.pth and leaving" in text
    assert len(re.findall(r"exitcode\s*: 75", text)) >= 1, text
    run("left", hooks(), "--resume")
    assert_same_run(tmp_path / "left", two_processes, "hooks")
    record_row(
        "SIGUSR1 to rank 1 of two",
        f"both left after the same iteration with exit code 75; resumed: {SAME}",
        f"{computed_again(tmp_path / 'left')} iterations",
    )
