"""Where MMDetection shows a run, and where it is shown here."""

from __future__ import annotations

import pytest

from mmdet_lite.compat.mmdet import translate_config

LOCAL, TENSORBOARD = {"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}
WANDB = {"type": "WandbVisBackend", "init_kwargs": {"project": "p", "tags": ["a"]}}
MLFLOW = {
    "type": "MLflowVisBackend",
    "exp_name": "e",
    "run_name": None,
    "tracking_uri": "sqlite://",
}


@pytest.mark.parametrize(
    ("backends", "writers"),
    [
        ([LOCAL], None),
        ([LOCAL, TENSORBOARD], None),
        ([LOCAL, WANDB], [{"type": "WandbWriter", "project": "p"}]),
        (
            [TENSORBOARD, {**MLFLOW, "save_dir": "x"}],
            [
                {"type": "TensorBoardWriter"},
                {"type": "MLflowWriter", "tracking_uri": "sqlite://", "experiment": "e"},
            ],
        ),
        ([{"type": "WandbVisBackend", "init_kwargs": {"mode": "disabled"}}], None),
        ([{"type": "WandbVisBackend"}], [{"type": "WandbWriter"}]),
    ],
)
def test_backends_become_writers(foreign, backends, writers):
    for change in (
        {"vis_backends": backends},
        {
            "vis_backends": [LOCAL],
            "visualizer": {"type": "DetLocalVisualizer", "vis_backends": backends, "alpha": 0.8},
        },
    ):
        assert translate_config(foreign() | change).config.get("writers") == writers


def test_what_is_not_passed_on_is_told(foreign):
    translation = translate_config(foreign() | {"vis_backends": [WANDB, {"type": "AimVisBackend"}]})
    assert "vis_backends.0.init_kwargs.tags" in translation.without_effect
    told = translation.otherwise["vis_backends.1.type"]
    assert told.startswith("'AimVisBackend': train.log, log.jsonl, curves.png")
