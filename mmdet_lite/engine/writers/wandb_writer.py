"""Runs in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np

from mmdet_lite.engine.writers.writer import Writer, require_package
from mmdet_lite.registry import WRITERS


@WRITERS.register_module()
class WandbWriter(Writer):
    """Show the run in Weights & Biases; a resumed run continues the same one.

    Everything is plotted against the iteration, so what a resumed run does again lies where it was.

    Args:
        project: the project there.
        entity: user or team; None: the account's default.
        name: of the run; None: that of the work dir.
        mode: 'online', or 'offline' to write into the folder ``wandb`` of the work dir only, for
            ``wandb sync``; None: what the variable WANDB_MODE says, else 'online'.
    """

    def __init__(
        self,
        project: str = "mmdet_lite",
        entity: str | None = None,
        name: str | None = None,
        mode: Literal["online", "offline"] | None = None,
    ):
        require_package("WandbWriter", "wandb", "wandb")
        self.project = project
        self.entity = entity
        self.name = name
        self.mode = mode
        self._run: Any = None

    def open(self, work_dir: Path, run_id: str | None, iteration: int) -> str:
        import wandb

        run_id = run_id or uuid4().hex[:8]
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.name or work_dir.resolve().name,
            mode=self.mode,
            dir=str(work_dir),
            id=run_id,
            resume="allow",
            settings=wandb.Settings(console="off"),  # which would take over the terminal
        )
        # its own step must rise, which that of a resumed run need not
        self._run.define_metric("iter")
        self._run.define_metric("*", step_metric="iter")
        return run_id

    def config(self, text: str, values: dict[str, Any]) -> None:
        self._run.config.update(values, allow_val_change=True)

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        self._run.log({**values, "iter": iteration})

    def images(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        import wandb

        shown = {name: wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**shown, "iter": iteration})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
