"""Work that a library does on one core, spread over as many as torch may use.

Letters: N RoIs, C channels, L levels.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import torch
import torchvision  # noqa: F401 - it registers its operators
from torch import Tensor

_is_fork = False
_ROIS_A_PIECE = 32
_CHANNELS_A_PIECE = 32  # few, as a piece of the gradient is in memory twice


def run_on_cores(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions that spend their time in operators, which let other threads run meanwhile.

    Args:
        tasks: nothing that they do is recorded for a gradient.

    Returns:
        Their results, in order.
    """
    run = partial(_run, is_inference=torch.is_inference_mode_enabled())
    if _is_fork or min(torch.get_num_threads(), len(tasks)) < 2:
        return [run(task) for task in tasks]
    return list(_pool(torch.get_num_threads()).map(run, tasks))


def _run(task: Callable[[], Any], is_inference: bool) -> Any:
    """Threads have modes of their own."""
    with torch.inference_mode(is_inference), torch.no_grad():
        return task()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose operators do not call more threads to their help in turn."""
    ready = threading.Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, "mmdet_lite-core", initializer=partial(_alone, ready))
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # which the initializers changed for threads that start later
    return pool


def _stay_alone() -> None:
    """Threads do not come along into a fork, and OpenMP may start none there."""
    global _is_fork
    _is_fork = True


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_stay_alone)


def _alone(ready: threading.Barrier) -> None:
    torch.zeros(100_000)  # torch sets a thread's number at the first parallel operator
    torch.set_num_threads(1)
    ready.wait()


class RoIAlignOnCores(torch.autograd.Function):
    """torchvision's RoIAlign on the levels of a pyramid, bit for bit, in less time on a CPU.

    Forward, RoIs are shared out; backward, channels are, so that no two threads add to the same
    place and every place is added to in the same order.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rois: Tensor,
        level: Tensor,
        size: int,
        scales: Sequence[float],
        sampling_ratio: int,
        aligned: bool,
        *feats: Tensor,
    ) -> Tensor:
        """Pool each RoI from its level.

        Args:
            rois: (N, 5): place of the image in the batch, box.
            level: (N,) int64 in 0..L-1.
            size: side of the pooled square.
            scales: of each level's map.
            sampling_ratio, aligned: see torchvision.
            feats: L maps (B, C, Hi, Wi).

        Returns:
            (N, C, size, size).
        """
        ctx.places = [(level == i).nonzero()[:, 0] for i in range(len(scales))]
        ctx.boxes = [rois[place] for place in ctx.places]
        ctx.scales, ctx.settings = scales, (size, size, sampling_ratio, aligned)
        ctx.shapes = [feat.shape for feat in feats]
        most = _ROIS_A_PIECE if torch.get_num_threads() > 1 else max(len(rois), 1)
        pooled = feats[0].new_empty(len(rois), feats[0].shape[1], size, size)
        tasks = []
        for feat, place, boxes, scale in zip(feats, ctx.places, ctx.boxes, scales, strict=True):
            feat = feat.contiguous()
            for rows, piece in zip(place.split(most), boxes.split(most), strict=True):
                tasks.append(partial(_align, pooled, rows, feat, piece, scale, *ctx.settings))
        run_on_cores(tasks)
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The maps' gradients."""
        maps = [grad.new_empty(shape) for shape in ctx.shapes]
        step = _CHANNELS_A_PIECE if torch.get_num_threads() > 1 else grad.shape[1]
        tasks = []
        for out, rows, boxes, scale in zip(maps, ctx.places, ctx.boxes, ctx.scales, strict=True):
            for first in range(0, grad.shape[1], step):
                part, own = out[:, first : first + step], grad[:, first : first + step]
                tasks.append(partial(_align_back, part, own, rows, boxes, scale, *ctx.settings))
        run_on_cores(tasks)
        return None, None, None, None, None, None, *maps


def _align(out: Tensor, rows: Tensor, feat: Tensor, *settings: Any) -> None:
    out.index_copy_(0, rows, torch.ops.torchvision.roi_align(feat, *settings))


def _align_back(
    out: Tensor,
    grad: Tensor,
    rows: Tensor,
    boxes: Tensor,
    scale: float,
    height: int,
    width: int,
    *sampling: Any,
) -> None:
    where = (boxes, scale, height, width, *out.shape)
    out.copy_(torch.ops.torchvision._roi_align_backward(grad[rows], *where, *sampling))
