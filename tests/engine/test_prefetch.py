"""Run with: pytest tests/engine/test_prefetch.py"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from mmdet_lite.engine import prefetch
from mmdet_lite.engine.prefetch import Prefetcher


class Recorder:
    """A loader of three batches, and the streams of a GPU that is not there."""

    def __init__(self, monkeypatch, make_batch):
        self.events = []
        self.active = "computing"
        self.make_batch = make_batch
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: "copying")
        monkeypatch.setattr(torch.cuda, "stream", self._inside)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self)
        monkeypatch.setattr(prefetch, "to_device", self._copy)
        monkeypatch.setattr(Tensor, "record_stream", lambda _, stream: self._record(stream))

    def batches(self, error=None):
        for number in range(3):
            self.events.append(f"load {number}")
            yield self.make_batch(number)
        if error is not None:
            raise error

    def wait_stream(self, other):
        self.events.append(f"wait for {other}")

    @contextmanager
    def _inside(self, stream):
        self.active = stream
        yield
        self.active = "computing"

    def _copy(self, batch, device):
        self.events.append(f"copy {batch.metas[0].image_id} while {self.active}")
        return batch

    def _record(self, stream):
        assert stream is self
        if self.events[-1] != "keep":
            self.events.append("keep")


@pytest.fixture
def recorder(monkeypatch, make_batch):
    return Recorder(monkeypatch, make_batch)


CUDA = torch.device("cuda")


def test_a_batch_is_copied_before_the_step_of_the_one_ahead_of_it(recorder):
    batches = Prefetcher(recorder.batches(), CUDA)
    for number in range(3):
        batch = next(batches)
        recorder.events.append(f"step {number}")
        assert batch.metas[0].image_id == 1000 + 2 * number
    assert recorder.events == [
        *("load 0", "copy 1000 while copying", "wait for copying", "keep"),
        *("load 1", "copy 1002 while copying", "step 0", "wait for copying", "keep"),
        *("load 2", "copy 1004 while copying", "step 1", "wait for copying", "keep", "step 2"),
    ]


@pytest.mark.parametrize("error", [None, OSError("no image")])
def test_the_end_and_an_error_come_when_their_batch_is_due(recorder, error):
    batches = Prefetcher(recorder.batches(error), CUDA)
    for _ in range(3):
        next(batches)
    for _ in range(2):  # an iterator that has ended stays ended
        with pytest.raises(StopIteration if error is None else OSError):
            next(batches)


def test_on_the_cpu_nothing_is_read_ahead(make_batch):
    taken = []

    def batches():
        for number in range(2):
            taken.append(number)
            yield make_batch(number)

    ahead = Prefetcher(batches(), torch.device("cpu"))
    for number in range(2):
        assert next(ahead).metas == make_batch(number).metas
        assert taken[-1] == number
    with pytest.raises(StopIteration):
        next(ahead)


@pytest.mark.needs_gpu
def test_pinned_batches_arrive_whole(make_batch):
    host = [make_batch(number).pin_memory() for number in range(8)]
    sums = []
    for batch in Prefetcher(iter(host), torch.device("cuda", torch.cuda.current_device())):
        assert batch.images.is_cuda and batch.keys.is_cuda
        torch.cuda._sleep(10_000_000)  # the next copy is done long before this batch is used
        sums.append(batch.images.double().sum())
        del batch
    assert [float(s) for s in sums] == pytest.approx([float(b.images.double().sum()) for b in host])
