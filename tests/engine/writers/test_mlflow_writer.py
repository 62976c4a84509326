"""Run with: pytest tests/engine/writers/test_mlflow_writer.py"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mmdet_lite.engine.writers.mlflow_writer import MLflowWriter

PICTURE = np.zeros((2, 3, 3), dtype=np.uint8)


class Client:
    """In place of MLflow's: notes what is called."""

    experiment = None

    def __init__(self, uri):
        self.calls = [("uri", uri)]

    def get_experiment_by_name(self, name):
        return self.experiment

    def create_experiment(self, name):
        self.calls.append(("create_experiment", name))
        return "7"

    def create_run(self, experiment_id, run_name):
        self.calls.append(("create_run", experiment_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    def __getattr__(self, name):
        return lambda *given, **named: self.calls.append((name, *given, *named.values()))


@pytest.fixture
def mlflow(inject):
    """In place of the package."""
    inject("mlflow", MlflowClient=Client)
    inject(
        "mlflow.entities",
        Param=lambda *given: given,
        Metric=lambda name, value, time, step: (name, value, step),
    )


def test_a_new_run_is_made_in_its_experiment(tmp_path, mlflow, monkeypatch):
    writer = MLflowWriter("sqlite:///a.db", "shapes")
    assert writer.open(tmp_path / "first", None, 0) == "abc"
    assert writer._client.calls == [
        ("uri", "sqlite:///a.db"),
        ("create_experiment", "shapes"),
        ("create_run", "7", "first"),
    ]
    monkeypatch.setattr(Client, "experiment", SimpleNamespace(experiment_id="3"))
    writer = MLflowWriter(name="mine")
    writer.open(tmp_path, None, 0)
    assert writer._client.calls == [("uri", None), ("create_run", "3", "mine")]


def test_values_go_to_the_run_by_names_that_mlflow_takes(tmp_path, mlflow):
    writer = MLflowWriter()
    writer.open(tmp_path, None, 0)
    writer._client.calls.clear()
    writer.config("seed = 1", {"seed": 1, "lr_multipliers": {"a(b)": 0.1}})
    writer.scalars({"train/loss": 1.5, "val/bbox_AR@100": 0.5}, 7)
    writer.images({"val/1": PICTURE}, 7)
    writer.close(failed=False)
    assert writer._client.calls == [
        ("log_text", "abc", "seed = 1", "config.py"),
        ("log_batch", "abc", [("seed", "1"), ("lr_multipliers.a_b_", "0.1")]),
        ("log_batch", "abc", [("train/loss", 1.5, 7), ("val/bbox_AR_100", 0.5, 7)]),
        ("log_image", "abc", PICTURE, "val/1", 7),
        ("set_terminated", "abc", "FINISHED"),
    ]


def test_many_and_long_parameters_are_within_the_limits(tmp_path, mlflow):
    writer = MLflowWriter()
    writer.open(tmp_path, None, 0)
    writer.config("", {f"{'k' * 300}{i}": "v" * 7000 for i in range(230)})
    batches = [call[2] for call in writer._client.calls if call[0] == "log_batch"]
    assert [len(batch) for batch in batches] == [100, 100, 30]
    assert {(len(name), len(value)) for name, value in batches[0]} == {(250, 6000)}


def test_a_resumed_run_goes_on_and_keeps_its_parameters(tmp_path, mlflow):
    writer = MLflowWriter()
    assert writer.open(tmp_path, "old", 30) == "old"
    writer.config("seed = 2", {"seed": 2})
    writer.close(failed=True)
    assert writer._client.calls == [
        ("uri", None),
        ("update_run", "old", "RUNNING"),
        ("log_text", "old", "seed = 2", "config.py"),
        ("set_terminated", "old", "FAILED"),
    ]


@pytest.mark.slow
def test_a_run_is_read_back_from_a_store_and_continued(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # where MLflow puts a store's files
    uri, run_id = f"sqlite:///{tmp_path / 'mlflow.db'}", None
    for start in (0, 2):
        writer = MLflowWriter(uri)
        run_id = writer.open(tmp_path / "run", run_id, start)
        writer.config("seed = 1", {"seed": start, "pipeline": [{"type": "Pad"}]})
        for iteration in range(start + 1, start + 3):
            writer.scalars({"train/loss": iteration / 2, "val/bbox_AR@100": -1}, iteration)
        writer.images({"val/1": PICTURE}, start + 2)
        writer.close(failed=start == 0)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.params == {"seed": "0", "pipeline.0.type": "Pad"}
    assert run.data.metrics["val/bbox_AR_100"] == -1
    points = [(m.step, m.value) for m in client.get_metric_history(run_id, "train/loss")]
    assert points == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    assert {file.path for file in client.list_artifacts(run_id)} == {"config.py", "images"}
