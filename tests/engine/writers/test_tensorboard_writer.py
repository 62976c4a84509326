"""Run with: pytest tests/engine/writers/test_tensorboard_writer.py"""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.engine.writers.tensorboard_writer import TensorBoardWriter


class Events:
    """In place of torch's SummaryWriter."""

    def __init__(self, folder, purge_step):
        self.calls = [("open", folder, purge_step)]

    def __getattr__(self, name):
        return lambda *given, **named: self.calls.append((name, *given, *named.values()))


def test_what_torch_is_told(tmp_path, inject):
    inject("tensorboard")
    inject("torch.utils.tensorboard", SummaryWriter=Events)
    writer = TensorBoardWriter()
    picture = np.zeros((2, 3, 3), dtype=np.uint8)
    assert writer.open(tmp_path, None, 0) is None
    writer.config("seed = 1", {})
    writer.scalars({"train/loss": 1.5, "train/lr": 0.1}, 7)
    writer.images({"val/1": picture}, 7)
    writer.close(failed=False)
    assert writer._events.calls == [
        ("open", str(tmp_path / "tensorboard"), None),
        ("add_text", "config", "```python\nseed = 1\n```"),
        ("add_scalar", "train/loss", 1.5, 7),
        ("add_scalar", "train/lr", 0.1, 7),
        ("add_image", "val/1", picture, 7, "HWC"),
        ("close",),
    ]


def test_events_are_read_back_and_a_resumed_run_replaces_what_it_does_again(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, loss in ((0, 1.0), (2, 5.0)):
        writer = TensorBoardWriter()
        writer.open(tmp_path, None, start)
        writer.config("seed = 1", {"seed": 1})
        for iteration in range(start + 1, 5):
            writer.scalars({"train/loss": loss}, iteration)
        writer.images({"val/7": np.full((4, 6, 3), 90, dtype=np.uint8)}, 4)
        writer.close(failed=False)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert points == [(1, 1.0), (2, 1.0), (3, 5.0), (4, 5.0)]
    (image,) = events.Images("val/7")
    assert (image.step, image.width, image.height) == (4, 6, 4)
    text = events.Tensors("config/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "seed = 1" in text
