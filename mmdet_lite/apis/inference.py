"""A trained model as a function of images. Letters: B images of a batch, K classes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from mmdet_lite.apis.build import build_model, choose_device, read_path
from mmdet_lite.apis.config import section
from mmdet_lite.apis.detections import Detections, take_detections
from mmdet_lite.apis.saved_model import (
    read_category_ids,
    read_classes,
    read_config,
    read_pipeline,
)
from mmdet_lite.data.collate import Collate
from mmdet_lite.data.image_sources import each_image, is_one
from mmdet_lite.data.picture import Channels, Picture, check_channels, to_picture
from mmdet_lite.data.pipeline import Transform, run_pipeline
from mmdet_lite.data.read_ahead import read_ahead
from mmdet_lite.data.sample import Sample
from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, weights_format
from mmdet_lite.engine.weights import find_weights, load_exactly
from mmdet_lite.structures.samples import to_device

Precision = Literal["float32", "bf16", "fp16"]

_MOST_BATCHES_HELD = 4  # while images of other shapes wait for more of their kind


def load(
    checkpoint: str | Path,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
    score_threshold: float = 0.0,
    max_detections: int | None = None,
    config: str | Path | None = None,
) -> Predictor:
    """A trained detector, ready for images.

    Args:
        checkpoint: a file of a training, of ``publish-model`` or of ``convert-checkpoint``, .pth or
            .safetensors; or zoo:NAME. Averaged (EMA) weights are taken where there are some.
        device: 'cpu', 'cuda', 'cuda:1', ...; None: the GPU if there is one, else the CPU.
        precision: 'float32', or autocast to 'bf16' or 'fp16'.
        score_threshold: detections below are left out. The model's own threshold, which its config
            has, comes before.
        max_detections: at most so many an image, the best; None: as many as the config says.
        config: config file of the model, or the path of a shipped one; None: the one that the
            checkpoint holds.

    Returns:
        What is called with images.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the checkpoint does not hold its config and none is given, the weights do not
            fit it, there is no such device, or a number is out of its range.
        CheckpointError: the file cannot be read safely.
    """
    _check_settings(precision, score_threshold, max_detections)
    device = _read_device(device)
    content = load_checkpoint(read_path(checkpoint, "checkpoint"))
    cfg = read_config(content, str(checkpoint), config)
    model = build_model(cfg)
    load_exactly(model, find_weights(content, str(checkpoint)), str(checkpoint))
    channels_last = section(cfg, "train").get("channels_last")
    model = model.to(device, memory_format=weights_format(channels_last, precision, device))
    classes = read_classes(content, model, str(checkpoint))
    data = section(cfg, "test_data") or section(cfg, "val_data")
    return Predictor(
        model.eval(),
        read_pipeline(data),
        classes,
        read_category_ids(content, len(classes)),
        precision,
        score_threshold,
        max_detections,
        data.get("size_divisor", 32),
    )


@dataclass
class _Prepared:
    """An image, what the model is to see of it and, later, what is found in it."""

    picture: Picture
    sample: Sample
    found: Detections | None = None


class Predictor:
    """A detector as a function of images; threads may call it at the same time.

    Images of a batch are of one padded shape, so that what is found in one does not depend on the
    others. :func:`load` makes it.

    Args:
        model: on its device, in evaluation mode.
        pipeline: transforms of the config's ``test_data``.
        classes: K names.
        category_ids: K ids by which COCO files know them.
        precision: 'float32', or autocast to 'bf16' or 'fp16'.
        score_threshold: detections below are left out.
        max_detections: at most so many an image; None: all.
        size_divisor: images are padded to multiples of it.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: Sequence[Transform],
        classes: Sequence[str],
        category_ids: Sequence[int],
        precision: Precision = "float32",
        score_threshold: float = 0.0,
        max_detections: int | None = None,
        size_divisor: int = 32,
    ):
        self.model = model
        self.pipeline = list(pipeline)
        self.classes = tuple(classes)
        self.category_ids = tuple(category_ids)
        self.precision = precision
        self.score_threshold = score_threshold
        self.max_detections = max_detections
        self.size_divisor = size_divisor
        self._lock = threading.Lock()  # models keep caches

    def __repr__(self) -> str:
        return (
            f"<Predictor: {type(self.model).__name__} of {len(self.classes)} classes on "
            f"{self.device}, {self.precision}>"
        )

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    def __call__(
        self, images: Any, batch: int = 8, channels: Channels = "rgb"
    ) -> Detections | list[Detections]:
        """Detect objects.

        Args:
            images: a path of a file or a folder, a pattern with ``*``, a file:// URL; a uint8 array
                (H, W, 3) or grey (H, W); a tensor (3, H, W), uint8 or float in 0..1; a PIL image;
                or a list or batch of these. A video gives its frames.
            batch: how many images at once.
            channels: their order in arrays and tensors: 'rgb', or 'bgr' as OpenCV reads files.

        Returns:
            For one image its detections; for a folder, a video or a list a list of them.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: an image cannot be read, or there is none in a folder.
            TypeError: ``images`` is something else.
            MemoryError: the batch is too large for the GPU.
        """
        found = list(self.stream(images, batch, channels))
        return found[0] if is_one(images) else found

    def stream(
        self, images: Any, batch: int = 8, channels: Channels = "rgb"
    ) -> Iterator[Detections]:
        """Detect objects in many images, one result after the other, in their order.

        A thread reads and resizes the next images while the device computes. Only a few are held.

        Args:
            images: as for a call, and any iterable of images.
            batch, channels: as for a call.

        Raises:
            FileNotFoundError, ValueError, TypeError, MemoryError: as for a call.
        """
        check_channels(channels)
        if type(batch) is not int or batch < 1:
            raise ValueError(f"batch must be a whole number from 1 on, got {batch!r}")
        sources = each_image(images)
        return self._stream(map(partial(self._prepare, channels=channels), sources), batch)

    def _stream(self, images: Iterable[_Prepared], batch: int) -> Iterator[Detections]:
        """Collect images of one padded shape until they are enough, or the first has to go on."""
        waiting: deque[_Prepared] = deque()  # in the order of their results
        groups: dict[tuple[int, int], list[_Prepared]] = {}
        for one in read_ahead(images, 2 * batch):
            waiting.append(one)
            size = self._padded(one)
            groups.setdefault(size, []).append(one)
            if len(groups[size]) == batch:
                self._detect(groups.pop(size))
            elif len(waiting) >= _MOST_BATCHES_HELD * batch:
                self._detect(groups.pop(self._padded(waiting[0])))
            while waiting and waiting[0].found is not None:
                yield waiting.popleft().found
        for group in groups.values():
            self._detect(group)
        for one in waiting:
            yield one.found

    def _prepare(self, source: Any, channels: Channels) -> _Prepared:
        picture = to_picture(source, channels)
        height, width = picture.image.shape[:2]
        sample = Sample(
            image=picture.image,
            boxes=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, np.int64),
            annotation_ids=np.zeros(0, np.int64),
            ignore_boxes=np.zeros((0, 4), np.float32),
            masks=None,
            image_id=0,
            file=picture.name,
            index=0,
            ori_shape=(height, width),
        )
        rng = np.random.default_rng(0)
        return _Prepared(picture, run_pipeline(self.pipeline, sample, rng, _no_partner))

    def _padded(self, one: _Prepared) -> tuple[int, int]:
        """(height, width) that an image has by itself in the network."""
        height, width = one.sample.size
        divisor = self.size_divisor
        return -(-height // divisor) * divisor, -(-width // divisor) * divisor

    def _detect(self, group: Sequence[_Prepared]) -> None:
        """Find the objects in images of one padded shape."""
        batch = Collate(self.size_divisor)([one.sample for one in group])
        dtype = AUTOCAST_DTYPES[self.precision]
        autocast = torch.autocast(self.device.type, dtype, enabled=dtype is not None)
        try:
            with self._lock, torch.inference_mode(), autocast:
                found = to_device(self.model(to_device(batch, self.device)), "cpu")
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"out of GPU memory with images {tuple(batch.images.shape)}; lower batch, which is "
                f"{len(group)} here, or set precision='bf16'. torch: {error}"
            ) from error
        for place, (meta, one) in enumerate(zip(batch.metas, group, strict=True)):
            known = (self.classes, self.category_ids)
            detections = take_detections(found, place, meta, one.picture, *known)
            one.found = detections.above(self.score_threshold)[: self.max_detections]


def _check_settings(precision: str, score_threshold: float, max_detections: int | None) -> None:
    if precision not in AUTOCAST_DTYPES:
        known = ", ".join(AUTOCAST_DTYPES)
        raise ValueError(f"precision must be one of {known}, got {precision!r}")
    if not 0 <= score_threshold <= 1:
        raise ValueError(f"score_threshold must be between 0 and 1, got {score_threshold!r}")
    if max_detections is not None and (type(max_detections) is not int or max_detections < 1):
        raise ValueError(
            f"max_detections must be a whole number from 1 on, or None, got {max_detections!r}"
        )


def _read_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return choose_device()
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device {str(device)!r} cannot be used ({reason}); torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} GPUs. Use 'cpu', 'cuda' or 'cuda:N', or None to choose"
        ) from error
    return chosen


def _no_partner() -> Sample:
    raise ValueError(
        "the pipeline of test_data mixes other images of the data set in; leave that to train_data"
    )
