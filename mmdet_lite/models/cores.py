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

_ROIS_A_PIECE = 32


def run_on_cores(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions that spend their time in operators, which let other threads run meanwhile.

    Args:
        tasks: none of them may be recorded for a gradient, and none need see torch's modes.

    Returns:
        Their results, in order.
    """
    threads = min(torch.get_num_threads(), len(tasks))
    if threads < 2:
        with torch.no_grad():
            return [task() for task in tasks]
    return list(_pool(torch.get_num_threads()).map(_without_gradient, tasks))


def _without_gradient(task: Callable[[], Any]) -> Any:
    with torch.no_grad():  # threads have their own
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


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not come along


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
        places = [(level == i).nonzero()[:, 0] for i in range(len(scales))]
        ctx.places, ctx.boxes = places, [rois[place] for place in places]
        ctx.scales, ctx.settings = scales, (size, size, sampling_ratio, aligned)
        ctx.shapes = [feat.shape for feat in feats]
        most = _ROIS_A_PIECE if torch.get_num_threads() > 1 else max(len(rois), 1)
        tasks = [
            partial(_align, feat.contiguous(), piece, scale, *ctx.settings)
            for feat, boxes, scale in zip(feats, ctx.boxes, scales, strict=True)
            for piece in boxes.split(most)
        ]
        return torch.cat(run_on_cores(tasks))[torch.cat(places).argsort()]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The maps' gradients."""
        num_parts = torch.get_num_threads()
        tasks = []
        for place, boxes, scale, shape in zip(
            ctx.places, ctx.boxes, ctx.scales, ctx.shapes, strict=True
        ):
            for part in grad[place].chunk(num_parts, dim=1):
                own = (shape[0], part.shape[1], *shape[2:])
                tasks.append(partial(_align_back, part, boxes, scale, own, *ctx.settings))
        parts = run_on_cores(tasks)
        num_parts = len(parts) // len(ctx.shapes)  # fewer where there are fewer channels
        levels = [parts[i : i + num_parts] for i in range(0, len(parts), num_parts)]
        return (None,) * 6 + tuple(torch.cat(of_level, dim=1) for of_level in levels)


def _align(
    feat: Tensor, boxes: Tensor, scale: float, height: int, width: int, ratio: int, aligned: bool
) -> Tensor:
    return torch.ops.torchvision.roi_align(feat, boxes, scale, height, width, ratio, aligned)


def _align_back(
    grad: Tensor,
    boxes: Tensor,
    scale: float,
    shape: Sequence[int],
    height: int,
    width: int,
    ratio: int,
    aligned: bool,
) -> Tensor:
    return torch.ops.torchvision._roi_align_backward(
        grad, boxes, scale, height, width, *shape, ratio, aligned
    )
