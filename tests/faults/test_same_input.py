"""Two processes with half of the batch each see and compute what one process does."""

from __future__ import annotations

import json

import pytest
import torch
from comparison import final_state, logged
from launching import COMPARABLE, Launch, alone, torchrun, train

STEPS = 20
TOLERANCE = 1e-5

OPTIONS = COMPARABLE | {
    "train.max_iters": STEPS,
    "train_data.dataset.num_images": 50,
    "hooks": [{"type": "RecordInput"}, {"type": "RecordGradients"}],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of the same training by one process with batch 4 and by two with 2 each."""
    folder = tmp_path_factory.mktemp("same_input")
    for processes in (1, 2):
        script = train(folder / str(processes), OPTIONS | {"train_data.batch_size": 4 // processes})
        command = alone(script) if processes == 1 else torchrun(2, script)
        with Launch(command, folder / f"{processes}.txt") as launch:
            launch.finish()
    return folder / "1", folder / "2"


def inputs(work_dir):
    """What each place of the global batch held, by (iteration, slot), over all ranks."""
    lines = [
        json.loads(line)
        for path in sorted(work_dir.glob("input_rank_*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    places = {(line["iteration"], line["slot"]): line for line in lines}
    assert len(places) == len(lines)
    return places


def gradients(work_dir, iteration):
    return torch.load(work_dir / f"gradients_{iteration}_rank_0.pth", weights_only=True)


def largest_difference(ours, theirs):
    """Over all tensors, the largest |a - b| relative to the largest |b| of its tensor."""
    differences = {
        name: ((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max()).item()
        for name in theirs
        if theirs[name].is_floating_point() and theirs[name].abs().max() > 0
    }
    return max(differences.values())


def test_images_pixels_boxes_and_keys_are_the_same(runs, record_row):
    one, two = map(inputs, runs)
    assert sorted(one) == [(step, slot) for step in range(STEPS) for slot in range(4)]
    assert two == one
    pictures = {line["pixels"] for line in one.values()}
    assert len(pictures) > STEPS * 4 * 0.9, "augmentation is on: hardly a picture occurs twice"
    record_row(
        "one process with batch 4 against two with 2 each, with augmentation",
        f"image ids, pixels, boxes, flips and sampling keys of {STEPS} steps identical "
        f"({len(one)} images)",
        "nothing",
    )


def test_losses_and_gradients_are_the_same_to_the_last_digits(runs, record_row):
    one, two = runs
    ours, theirs = gradients(two, 0), gradients(one, 0)
    assert ours.keys() == theirs.keys()
    assert all(theirs[name].abs().max() > 0 for name in theirs)
    gradient = largest_difference(ours, theirs)
    assert gradient < TOLERANCE
    first, reference = logged(two)["train", 1], logged(one)["train", 1]
    losses = {name: value for name, value in reference.items() if "loss" in name}
    assert len(losses) == 6
    loss = max(abs(first[name] - value) / abs(value) for name, value in losses.items())
    assert loss < TOLERANCE
    drift = largest_difference(final_state(two)["model"], final_state(one)["model"])
    assert drift < 0.1
    record_row(
        "one process with batch 4 against two with 2 each: images of one size, batch norm frozen, "
        "normalizer='global' in all heads",
        f"first step: each loss within {loss:.1g} (relative), each of {len(theirs)} gradient "
        f"tensors within {gradient:.1g} of its largest value",
        f"after {STEPS} steps weights within {drift:.1g} of a tensor's largest",
    )
