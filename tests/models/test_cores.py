"""What is spread over the cores gives, bit for bit, what one core gives."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import torch
from torchvision.ops import roi_align

from mmdet_lite.models.cores import RoIAlignOnCores, run_on_cores

SCALES = (1 / 4, 1 / 8)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _inputs(num_rois: int = 90, channels: int = 5):
    generator = torch.Generator().manual_seed(0)
    feats = [torch.randn(2, channels, s, s, generator=generator) for s in (24, 12)]
    corner = torch.rand(num_rois, 2, generator=generator) * 60
    side = 4 + torch.rand(num_rois, 2, generator=generator) * 40
    image = torch.randint(2, (num_rois, 1), generator=generator)
    rois = torch.cat([image, corner, corner + side], dim=1)
    return rois, torch.randint(2, (num_rois,), generator=generator), feats


def _one_core(rois, level, feats, ratio, aligned):
    pooled = torch.zeros(len(rois), feats[0].shape[1], 7, 7)
    for i, (feat, scale) in enumerate(zip(feats, SCALES, strict=True)):
        here = level == i
        pooled = pooled.index_put((here,), roi_align(feat, rois[here], 7, scale, ratio, aligned))
    return pooled


@pytest.mark.parametrize(("ratio", "aligned"), [(0, True), (2, False)])
@pytest.mark.parametrize("channels", [1, 5])
def test_pooling_and_gradient_are_torchvision_s_bit_for_bit(threads, ratio, aligned, channels):
    rois, level, feats = _inputs(channels=channels)
    ours = [feat.clone().requires_grad_() for feat in feats]
    theirs = [feat.clone().requires_grad_() for feat in feats]
    pooled = RoIAlignOnCores.apply(rois, level, 7, SCALES, ratio, aligned, *ours)
    expected = _one_core(rois, level, theirs, ratio, aligned)
    assert pooled.equal(expected)
    weight = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
    (pooled * weight).sum().backward()
    (expected * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad.equal(b.grad) and a.grad.abs().sum() > 0


def test_maps_that_need_no_gradient_are_left_out(threads):
    rois, level, feats = _inputs()
    feats[0].requires_grad_()
    RoIAlignOnCores.apply(rois, level, 7, SCALES, 2, True, *feats).sum().backward()
    assert feats[0].grad.abs().sum() > 0 and feats[1].grad is None


def test_results_come_in_order_and_no_gradient_is_recorded(threads):
    weight = torch.ones(1, requires_grad=True)
    results = run_on_cores([lambda i=i: weight * i for i in range(9)])
    assert [float(value) for value in results] == list(range(9))
    assert not any(value.requires_grad for value in results)


def test_errors_of_a_task_are_raised(threads):
    with pytest.raises(RuntimeError, match="shape"):
        run_on_cores([lambda: torch.ones(2), lambda: torch.ones(2).reshape(3)])


def test_number_of_threads_stays(threads):
    run_on_cores([lambda: torch.ones(2)] * 4)
    assert torch.get_num_threads() == threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_process_needs_no_threads(threads):
    """The workers of a loader are forks of a process whose threads they do not have."""
    run_on_cores([lambda: torch.ones(1)] * 2)
    child = os.fork()
    if not child:
        results = run_on_cores([lambda i=i: (i, threading.current_thread()) for i in range(3)])
        os._exit(results != [(i, threading.current_thread()) for i in range(3)])
    assert os.waitpid(child, 0)[1] == 0


def test_pooling_goes_with_inference_mode(threads):
    rois, level, feats = _inputs()
    with torch.inference_mode():
        pooled = RoIAlignOnCores.apply(rois, level, 7, SCALES, 2, True, *feats)
    assert pooled.is_inference() and pooled.equal(_one_core(rois, level, feats, 2, True))
