"""Events for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_lite.engine.writers.writer import Writer, require_package
from mmdet_lite.registry import WRITERS


@WRITERS.register_module()
class TensorBoardWriter(Writer):
    """Write events for TensorBoard into the folder ``tensorboard`` of the work dir.

    What a resumed run does again replaces what was there.
    """

    def __init__(self):
        require_package("TensorBoardWriter", "tensorboard", "tensorboard")
        self._events: Any = None

    def open(self, work_dir: Path, run_id: str | None, iteration: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = iteration + 1 if iteration else None
        self._events = SummaryWriter(str(work_dir / "tensorboard"), purge_step=purge)

    def config(self, text: str, values: dict[str, Any]) -> None:
        self._events.add_text("config", f"```python\n{text}\n```")

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        for name, value in values.items():
            self._events.add_scalar(name, value, iteration)

    def images(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        for name, picture in pictures.items():
            self._events.add_image(name, picture, iteration, dataformats="HWC")

    def close(self, failed: bool) -> None:
        self._events.close()
