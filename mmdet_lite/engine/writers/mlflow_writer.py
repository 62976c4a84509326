"""Runs in MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any

import numpy as np

from mmdet_lite.engine.writers.writer import Writer, flatten, require_package
from mmdet_lite.registry import WRITERS

_NOT_IN_NAMES = re.compile(r"[^/\w.\- ]")  # of metrics, parameters and images
_PARAMETERS_AT_ONCE, _LONGEST_NAME, _LONGEST_VALUE = 100, 250, 6000  # limits of MLflow


@WRITERS.register_module()
class MLflowWriter(Writer):
    """Show the run in MLflow; a resumed run continues the same one.

    Characters that MLflow's names cannot have become '_': 'val/bbox_AR_100' is AR@100.

    Args:
        tracking_uri: the server's address, or a store such as 'sqlite:///mlflow.db'; None: what the
            variable MLFLOW_TRACKING_URI says, else MLflow's default.
        experiment: to which the run belongs; it is made if need be.
        name: of the run; None: that of the work dir.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "mmdet_lite",
        name: str | None = None,
    ):
        require_package("MLflowWriter", "mlflow", "mlflow")
        self.tracking_uri = tracking_uri
        self.experiment = experiment
        self.name = name
        self._client: Any = None
        self._run_id = ""
        self._is_new = True

    def open(self, work_dir: Path, run_id: str | None, iteration: int) -> str:
        from mlflow import MlflowClient

        self._client = MlflowClient(self.tracking_uri)
        self._is_new = run_id is None
        if run_id is None:
            name = self.name or work_dir.resolve().name
            run_id = self._client.create_run(self._experiment_id(), run_name=name).info.run_id
        else:
            self._client.update_run(run_id, status="RUNNING")
        self._run_id = run_id
        return run_id

    def config(self, text: str, values: dict[str, Any]) -> None:
        self._client.log_text(self._run_id, text, "config.py")
        if not self._is_new:
            return  # parameters cannot be changed
        from mlflow.entities import Param

        parameters = [
            Param(_name(key), str(value)[:_LONGEST_VALUE]) for key, value in flatten(values).items()
        ]
        for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            some = parameters[start : start + _PARAMETERS_AT_ONCE]
            self._client.log_batch(self._run_id, params=some)

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time())
        metrics = [Metric(_name(key), value, now, iteration) for key, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def images(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        for name, picture in pictures.items():
            self._client.log_image(self._run_id, picture, key=_name(name), step=iteration)

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        return found.experiment_id if found else self._client.create_experiment(self.experiment)


def _name(key: str) -> str:
    return _NOT_IN_NAMES.sub("_", key)[:_LONGEST_NAME]
