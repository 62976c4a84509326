import os
import signal
from itertools import islice

import pytest
import torch

from mmdet_lite.data.loader import build_eval_loader, build_train_loader
from mmdet_lite.data.photometric import PhotometricDistortion
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.transforms import RandomFlip, RandomResize

PIPELINE = [PhotometricDistortion(), RandomResize([(64, 64), (96, 96)]), RandomFlip()]


def shapes(num_images=10, pipeline=PIPELINE):
    return ShapesDataset(num_images, (48, 64), pipeline=pipeline, seed=5)


def assert_equal(first, second):
    assert first.metas == second.metas
    for name in ("images", "shapes", "pad_shapes", "keys"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    for name in ("boxes", "labels", "valid", "ignore_boxes", "ignore_valid"):
        assert torch.equal(getattr(first.gt, name), getattr(second.gt, name))
    assert torch.equal(first.gt.masks.unpack(), second.gt.masks.unpack())


def test_batches_do_not_depend_on_workers_or_interruptions():
    reference = list(islice(build_train_loader(shapes(), 3, num_workers=0, masks="bitmaps"), 9))
    workers = list(islice(build_train_loader(shapes(), 3, num_workers=2, masks="bitmaps"), 9))
    resumed = build_train_loader(shapes(), 3, num_workers=0, masks="bitmaps", start_iteration=6)
    for first, second in zip(reference, workers, strict=True):
        assert_equal(first, second)
    for first, second in zip(reference[6:], islice(resumed, 3), strict=True):
        assert_equal(first, second)
    assert not torch.equal(reference[0].keys, reference[4].keys)


def test_two_ranks_see_the_pixels_and_keys_of_one():
    single = next(iter(build_train_loader(shapes(), 4, num_workers=0)))
    for rank in range(2):
        loader = build_train_loader(shapes(), 2, num_workers=0, rank=rank, world_size=2)
        part = next(iter(loader))
        slots = slice(2 * rank, 2 * rank + 2)
        assert torch.equal(part.keys, single.keys[slots])
        assert part.metas == single.metas[slots]
        height, width = part.images.shape[2:]
        assert torch.equal(part.images, single.images[slots, :, :height, :width])


def test_making_batches_leaves_torchs_random_state_alone():
    before = torch.get_rng_state()
    next(iter(build_train_loader(shapes(), 2, num_workers=0)))
    next(iter(build_eval_loader(shapes(2), 2, num_workers=1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_loader_can_be_run_again():
    loader = build_eval_loader(shapes(5), batch_size=2, num_workers=1)
    for _ in range(2):
        assert [m.image_id for batch in loader for m in batch.metas] == [1, 2, 3, 4, 5]
    assert len(loader) == 3


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_errors_of_a_worker_reach_the_caller(num_workers, error):
    def broken(sample, rng):
        raise error(f"image id {sample.image_id}: it is broken")

    with pytest.raises(error, match="image id 1: it is broken") as caught:
        next(iter(build_eval_loader(shapes(pipeline=[broken]), num_workers=num_workers)))
    assert "worker died" not in str(caught.value)


class KillWorker:
    """A transform that kills the worker process over one image, the first ``times`` times."""

    def __init__(self, index, folder, times):
        self.index, self.folder, self.times = index, folder, times

    def __call__(self, sample, rng):
        killed = len(list(self.folder.iterdir()))
        if sample.index == self.index and killed < self.times:
            (self.folder / str(killed)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return sample


@pytest.mark.parametrize("index", [0, 5])
def test_a_killed_worker_is_replaced_and_nothing_is_lost(tmp_path, caplog, index):
    def loader(times):
        dataset = shapes(8)
        dataset.pipeline.append(KillWorker(index, tmp_path, times))
        return build_train_loader(dataset, 2, num_workers=1)

    handler = signal.getsignal(signal.SIGCHLD)
    survived = list(islice(loader(times=1), 6))
    assert "A data loading worker died" in caplog.text
    assert signal.getsignal(signal.SIGCHLD) is handler, "else a death would interrupt a step"
    for ours, undisturbed in zip(survived, islice(loader(times=1), 6), strict=True):
        assert torch.equal(ours.images, undisturbed.images) and ours.metas == undisturbed.metas


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError,
        EOFError,
        FileNotFoundError,
        RuntimeError("received 0 items of ancdata"),
    ],
)
def test_tensors_that_a_dying_worker_had_sent_are_made_again(monkeypatch, caplog, error):
    """They are fetched from the worker, which may be gone before it counts as dead."""

    def fetch(*given):
        monkeypatch.undo()
        raise error

    batches = iter(build_train_loader(shapes(8), 2, num_workers=1))
    survived = [next(batches)]
    monkeypatch.setattr("torch.multiprocessing.reductions.rebuild_storage_fd", fetch)
    survived += islice(batches, 2)
    assert "A data loading worker died" in caplog.text
    undisturbed = islice(build_train_loader(shapes(8), 2, num_workers=0), 3)
    for ours, theirs in zip(survived, undisturbed, strict=True):
        assert torch.equal(ours.images, theirs.images) and ours.metas == theirs.metas


def test_a_worker_that_dies_twice_over_the_same_batch_ends_the_loading(tmp_path):
    dataset = shapes(4)
    dataset.pipeline.append(KillWorker(2, tmp_path, times=2))
    loader = build_eval_loader(dataset, 1, num_workers=1)
    with pytest.raises(
        ChildProcessError,
        match=r"Lower num_workers \(now 1\)(?s:.*)shm-size=8g(?s:.*) happened twice",
    ):
        list(loader)
