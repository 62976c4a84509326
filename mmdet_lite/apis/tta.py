"""Test-time augmentation from the config: its settings, and what is built from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import loader_settings
from mmdet_lite.apis.config import section
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.loader import DetectionLoader
from mmdet_lite.data.views import MultiViewDataset, build_view_loader
from mmdet_lite.engine.distributed import rank, world_size
from mmdet_lite.registry import MODELS, build

if TYPE_CHECKING:
    from mmdet_lite.models.tta import MultiViewDetector

logger = logging.getLogger("mmdet_lite")

_FLIPS = (None, "horizontal", "vertical")


@dataclass
class TTASettings:
    """How often an image is seen in ``--tta``, and how what is found is merged.

    There is a view for every pair of a scale and a flip.

    Args:
        scales: (long, short) edges that the image must fit in, in place of those of the Resize in
            ``test_data``'s pipeline; None: that pipeline as it is.
        flips: 'horizontal', 'vertical', or None.
        keep_ratio: scale both axes alike; else scales are (width, height).
        nms: how duplicates among the views are suppressed; None: ``NMS()``, class by class above an
            overlap of 0.5.
        max_per_img: detections an image after merging.

    Raises:
        ValueError: settings are of a wrong kind; all of them are listed.
    """

    scales: Sequence[tuple[int, int] | None] = (None,)
    flips: Sequence[str | None] = (None, "horizontal")
    keep_ratio: bool = True
    nms: dict | None = None
    max_per_img: int = 100

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ValueError("config: tta: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        expected = {
            "scales": (_all(self.scales, _is_scale), "a list of (long, short) edges or None"),
            "flips": (
                _all(self.flips, lambda flip: flip in _FLIPS),
                f"a list of {', '.join(map(repr, _FLIPS))}",
            ),
            "keep_ratio": (isinstance(self.keep_ratio, bool), "True or False"),
            "nms": (self.nms is None or isinstance(self.nms, dict), "a dict with a type, or None"),
            "max_per_img": (_is_positive(self.max_per_img), "a whole number above 0"),
        }
        return [
            f"{name} is {getattr(self, name)!r}, expected {what}"
            for name, (is_good, what) in expected.items()
            if not is_good
        ]


def read_tta(cfg: Config) -> TTASettings:
    """The section ``tta``; every key of it has a default.

    Raises:
        ValueError: it has unknown keys or bad values.
    """
    return TTASettings(**section(cfg, "tta", TTASettings))


def build_tta(
    cfg: Config, settings: TTASettings, model: nn.Module, dataset: DetectionDataset
) -> tuple[MultiViewDetector, DetectionLoader]:
    """What takes the place of a detector and the loader of ``test_data``.

    Args:
        cfg: the config.
        settings: its section ``tta``.
        model: the detector, on its device.
        dataset: of ``test_data``.
    """
    from mmdet_lite.models.tta import MultiViewDetector  # it imports torchvision, as models do

    views = MultiViewDataset(dataset, settings.scales, settings.flips, settings.keep_ratio)
    loader = build_view_loader(
        views,
        rank=rank(),
        world_size=world_size(),
        **loader_settings(cfg, "test"),
    )
    nms = None if settings.nms is None else build(settings.nms, MODELS)
    count = len(settings.scales) * len(settings.flips)
    logger.info("test-time augmentation: %d views of every image", count)
    return MultiViewDetector(model, nms, settings.max_per_img), loader


def _all(values: Any, is_good: Callable[[Any], bool]) -> bool:
    return isinstance(values, (list, tuple)) and len(values) > 0 and all(map(is_good, values))


def _is_scale(value: Any) -> bool:
    return value is None or (_all(value, _is_positive) and len(value) == 2)


def _is_positive(value: Any) -> bool:
    return type(value) is int and value > 0
