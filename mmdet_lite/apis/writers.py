"""Where a run is shown beside its own files, and the pictures that it shows."""

from __future__ import annotations

import logging
from collections.abc import Callable

import cv2
import numpy as np
from mmengine.config import Config

from mmdet_lite.apis.test import draw_pictures
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.engine.distributed import is_main
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.log import RunLog
from mmdet_lite.engine.trainer import Trainer
from mmdet_lite.engine.writers.all_writers import AllWriters
from mmdet_lite.engine.writers.tensorboard_writer import TensorBoardWriter
from mmdet_lite.engine.writers.writer import is_installed
from mmdet_lite.evaluation.detection_metric import DetectionMetric
from mmdet_lite.literals import read_assignments
from mmdet_lite.registry import WRITERS, build

logger = logging.getLogger("mmdet_lite")

_WIDEST = 1280  # pixels of a picture


def build_writers(cfg: Config) -> AllWriters:
    """The config's writers, not yet open; without that section TensorBoard's, if it is installed.

    Raises:
        ValueError: the section is no list.
        ImportError: a writer's package is not installed.
    """
    section = cfg.get("writers")
    if section is None:
        if is_installed("tensorboard"):
            return AllWriters([TensorBoardWriter()])
        logger.info("TensorBoard is not installed, so no events are written for it")
        return AllWriters()
    if not isinstance(section, (list, tuple)):
        raise ValueError(
            "config: writers must be a list such as [dict(type='TensorBoardWriter')], got "
            f"{section!r}"
        )
    return AllWriters([build(writer, WRITERS) for writer in section])


def open_writers(log: RunLog, config: str, iteration: int) -> None:
    """Begin to show a run; for the main process, once the log is open.

    Args:
        log: of the run, with its writers.
        config: the resolved config, as text.
        iteration: finished iterations.
    """
    log.writers.open(log.work_dir, iteration)
    log.writers.config(config, read_assignments(config))


def make_draw(
    metric: object, dataset: DetectionDataset
) -> Callable[[int], dict[str, np.ndarray]] | None:
    """How pictures of a validation are drawn; None for a metric that does not keep detections."""
    if not isinstance(metric, DetectionMetric):
        return None

    def draw(num: int) -> dict[str, np.ndarray]:
        drawn = draw_pictures(metric, dataset, num)
        return {f"{image_id:012d}": _shrink(picture) for image_id, picture in drawn}

    return draw


class ShowPictures(Hook):
    """Gives the run's writers a few pictures of each validation, always of the same images."""

    def after_validation(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Draw them."""
        num, draw = trainer.settings.val_pictures, trainer.data.draw
        if not (is_main() and trainer.log.writers and num and draw):
            return
        try:
            trainer.log.pictures(draw(num), trainer.iteration)
        except (OSError, ValueError) as error:  # an image that cannot be read any more
            logger.warning("cannot draw pictures of the validation: %s", error)


def _shrink(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= _WIDEST:
        return picture
    size = (_WIDEST, max(1, round(height * _WIDEST / width)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
