"""The best overlaps of whole tensors, of parts and of the kernels: the same bit for bit."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from mmdet_lite.benchmarks.memory import peak_memory
from mmdet_lite.models.assigners.overlaps import BestOverlaps, Pairs, best_overlaps

WHOLE = 10**9


def _boxes(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator) * 60
    return torch.cat([corner, corner + torch.rand(*shape, 2, generator=generator) * 40 + 1], -1)


def make_pairs(own_priors: bool = False, num_priors: int = 600) -> Pairs:
    """Three images, one without objects; equal priors and equal ground truths, for ties."""
    gt_boxes = _boxes(3, 7, seed=0)
    gt_boxes[:, 3] = gt_boxes[:, 5]
    priors = _boxes(3 if own_priors else 1, num_priors, seed=1)
    priors[:, ::7] = priors[:, 3:4]
    absent = torch.zeros(3, 7, dtype=torch.bool)
    absent[0, 4:], absent[1] = True, True
    unusable = torch.rand(3, num_priors, generator=torch.Generator().manual_seed(2)) < 0.2
    return Pairs(gt_boxes, priors, absent, unusable)


def assert_same(found: BestOverlaps, expected: BestOverlaps) -> None:
    """``best_for`` may be any number where no ground truth is meant."""
    assert torch.equal(found.iou, expected.iou)
    assert torch.equal(found.gt, expected.gt)
    assert (found.is_best is None) == (expected.is_best is None)
    if expected.is_best is not None:
        assert torch.equal(found.is_best, expected.is_best)
        is_best = expected.is_best
        assert torch.equal(found.best_for[is_best], expected.best_for[is_best])


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("min_gt_iou", [0.0, 0.55])
def test_best_partners_are_those_of_a_loop_over_pairs(first_only, min_gt_iou):
    pairs = make_pairs(num_priors=80)
    found = best_overlaps(pairs, min_gt_iou, first_only, WHOLE)
    overlaps = pairs.overlaps().tolist()
    for image, rows in enumerate(overlaps):
        columns = list(zip(*rows, strict=True))
        assert found.iou[image].tolist() == [max(column) for column in columns]
        assert found.gt[image].tolist() == [column.index(max(column)) for column in columns]
        best_for = {}
        for gt, row in enumerate(rows):
            places = [i for i, iou in enumerate(row) if iou == max(row) >= min_gt_iou]
            best_for |= dict.fromkeys(places[:1] if first_only else places, gt)
        assert found.is_best[image].nonzero()[:, 0].tolist() == sorted(best_for)
        assert all(found.best_for[image, i] == gt for i, gt in best_for.items())
    assert found.is_best.any() and not found.is_best[1].any()


@pytest.mark.parametrize("own_priors", [False, True])
@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("min_gt_iou", [None, 0.0, 0.55])
@pytest.mark.parametrize("max_elements", [1, 2500, 12_599])
def test_parts_are_the_whole(own_priors, first_only, min_gt_iou, max_elements):
    pairs = make_pairs(own_priors, num_priors=60 if max_elements == 1 else 600)
    whole = best_overlaps(pairs, min_gt_iou, first_only, WHOLE)
    assert_same(best_overlaps(pairs, min_gt_iou, first_only, max_elements), whole)


def test_memory_is_bounded_by_the_parts():
    num_gts, num_priors, limit = 200, 20_000, 100_000
    absent, unusable = (torch.zeros(1, n, dtype=torch.bool) for n in (num_gts, num_priors))
    pairs = Pairs(_boxes(1, num_gts, seed=0), _boxes(1, num_priors, seed=1), absent, unusable)

    def peak(max_elements: int) -> float:
        run = lambda: best_overlaps(pairs, 0.3, False, max_elements)  # noqa: E731
        return peak_memory(lambda: run, torch.device("cpu"))

    results = 4 * num_priors * (4 + 8 + 1 + 8) / 1e6  # of two calls, in parts and joined
    assert peak(limit) < 6 * 4 * limit / 1e6 + results < peak(WHOLE) / 4


def _run_with_triton(function: str, **env: str) -> None:
    pytest.importorskip("triton")
    script = f"import test_overlaps; test_overlaps.{function}()"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    } | env
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False
    )
    assert result.returncode == 0, result.stderr


def check_kernels() -> None:
    """On the CPU, by Triton's interpreter."""
    best_overlaps(make_pairs(), 0.0, False, WHOLE)
    assert not any("overlap_kernels" in name for name in sys.modules)  # only a GPU needs them
    from mmdet_lite.models.assigners import overlap_kernels

    for own_priors in (False, True):
        pairs = make_pairs(own_priors, num_priors=300)  # the last block of priors is not full
        for min_gt_iou in (None, 0.0, 0.55):
            expected = best_overlaps(pairs, min_gt_iou, False, WHOLE)
            assert_same(overlap_kernels.best_overlaps(pairs, min_gt_iou), expected)


def check_instructions() -> None:
    """Compiled for a GPU that need not be there: nothing that rounds otherwise than torch does."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mmdet_lite.models.assigners import overlap_kernels as kernels

    types = dict.fromkeys(("absent", "unusable"), "*u8") | dict.fromkeys(("gt", "best_for"), "*i64")
    types |= dict.fromkeys(("gt_boxes", "priors", "iou", "gt_iou"), "*fp32")
    for kernel, constants in (
        (kernels.best_of_priors, {"both_ways": True, "BLOCK": 256}),
        (kernels.best_of_gts, {"BLOCK": 256}),
    ):
        signature = {name: types.get(name, "i32") for name in kernel.arg_names}
        signature |= dict.fromkeys(constants, "constexpr")
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        target = GPUTarget("cuda", 80, 32)
        code = compile(source, target=target, options=kernels.OPTIONS).asm["ptx"]
        assert not re.search(r"\bfma\b", code)
        assert set(re.findall(r"\bdiv\.[\w.]+", code)) == {"div.rn.f32"}


def test_kernels_give_the_same_in_triton_s_interpreter():
    _run_with_triton("check_kernels", TRITON_INTERPRET="1")


def test_kernels_round_as_torch_does(tmp_path):
    _run_with_triton("check_instructions", TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.needs_gpu
def test_kernels_give_the_same_on_a_gpu():
    pairs = Pairs(*(x.cuda() for x in vars(make_pairs()).values()))
    for min_gt_iou in (None, 0.0, 0.55):
        expected = best_overlaps(make_pairs(), min_gt_iou, False, WHOLE)
        found = best_overlaps(pairs, min_gt_iou, False, WHOLE)
        assert_same(
            BestOverlaps(*(x if x is None else x.cpu() for x in vars(found).values())), expected
        )
