"""Operations, waits and memory are counted right, on cases that can be counted by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from mmdet_lite.benchmarks.counts import count
from mmdet_lite.benchmarks.memory import peak_memory
from mmdet_lite.models.cores import RoIAlignOnCores

X = torch.arange(6.0).reshape(2, 3)


def test_views_are_free_and_products_are_apart():
    counts = count(lambda: (X.T.reshape(2, 3)[:1] @ X.T + 1).exp())
    assert (counts.heavy, counts.waits) == (1, 0)
    assert counts.names["add"] == counts.names["exp"] == 1
    # the transposed matrix has to be copied for the new shape
    assert counts.operations == 2 + counts.names["clone"]


def test_convolutions_are_apart_in_inference_mode_too():
    layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(3, 1, 2), nn.Linear(7, 4))
    with torch.inference_mode():
        counts = count(lambda: layers(torch.ones(1, 2, 6, 6)))
    assert counts.heavy == 3


def test_what_would_be_done_on_other_threads_is_counted():
    rois, level = torch.tensor([[0.0, 1, 1, 9, 9]] * 40), torch.zeros(40, dtype=torch.long)
    feats = torch.rand(1, 2, 16, 16, requires_grad=True)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pool = partial(RoIAlignOnCores.apply, rois, level, 7, (1.0,), 2, True, feats)
        counts = count(lambda: pool().sum().backward())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert counts.names["roi_align"] == counts.names["_roi_align_backward"] == 1


def test_backward_pass_is_counted():
    def step() -> None:
        weight = torch.ones(3, requires_grad=True)
        weight.sin().sum().backward()

    counts = count(step)
    assert counts.names["sin"] == counts.names["cos"] == counts.names["sum"] == 1


@pytest.mark.parametrize(
    "waits",
    [
        lambda: X.sum().item(),
        lambda: bool(X.any()),
        lambda: X.tolist(),
        lambda: X.numpy(),
        lambda: X.cpu(),
        lambda: X.nonzero(),
        lambda: X[X > 2],
        lambda: X.masked_select(X > 2),
        lambda: torch.unique(X),
        lambda: X.repeat_interleave(torch.tensor([1, 2]), dim=0),
        lambda: torch.ops.torchvision.nms(torch.rand(3, 4), torch.rand(3), 0.5),
    ],
)
def test_what_would_wait_for_a_gpu_is_found(waits):
    import torchvision  # noqa: F401 - it registers nms

    assert count(waits).waits == 1


@pytest.mark.parametrize(
    "goes_on",
    [
        lambda: X.gather(1, X.long().clamp(max=2)),
        lambda: X[torch.tensor([0, 1])],
        lambda: torch.where(X > 2, X, 0),
        lambda: X.topk(2),
        lambda: X.repeat_interleave(2, dim=0),
    ],
)
def test_what_does_not_wait_is_not(goes_on):
    assert count(goes_on).waits == 0


def test_peak_memory_is_what_is_alive_at_a_time():
    def make():
        torch.zeros(5_000_000)  # 20 MB, before it begins
        kept = torch.zeros(1_000_000)  # 4 MB

        def run() -> None:
            first = torch.zeros(500_000)  # 2 MB
            del first
            torch.zeros(250_000)  # 1 MB, after the first is gone
            assert len(kept)

        return run

    assert peak_memory(make, torch.device("cpu")) == pytest.approx(6, abs=0.1)
