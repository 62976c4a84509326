"""AP loss beside the loop over positives: what is compared, and what is written."""

from __future__ import annotations

import json

import pytest
import torch

from mmdet_lite.benchmarks.ap_loss import PositiveByPositive, benchmark_ap_loss


def test_the_loop_is_the_paper_s_by_hand():
    """Two negatives rank above the only positive, the last one is out of reach."""
    logits = torch.tensor([[0.0, 5], [5, -5]], requires_grad=True)
    loss = PositiveByPositive.apply(logits, torch.tensor([[True, False], [False, False]]))
    (2 * loss).backward()
    assert loss.item() == pytest.approx(2 / 3)
    torch.testing.assert_close(logits.grad, torch.tensor([[-4.0, 2], [2, 0]]) / 3)


def test_figures_are_written(run_cli, tmp_path):
    numbers = ("--positives", 30, "--negatives", 370, "--num-classes", 4, "--rounds", 2)
    result = run_cli("benchmark", "ap-loss", *numbers, "--json", tmp_path / "new" / "rows.json")
    assert result.code == 0, result.err
    assert "30 positives, 370 negatives, 4 classes" in result.out
    (row,) = json.loads((tmp_path / "new" / "rows.json").read_text())
    assert row["ratio_range"][0] <= row["ratio"] <= row["ratio_range"][1]
    assert row["machine"]["torch"] == torch.__version__ and row["command"]
    assert row["settings"] == {"num_pos": 30, "num_neg": 370, "num_classes": 4}
    assert row["unit"] == "ms" and row["peer_name"] == "positive by positive"


@pytest.mark.parametrize("numbers", [(3, 8, 4), (3, 5, 4)])
def test_entries_must_be_whole_samples(numbers):
    with pytest.raises(ValueError, match="3 positives and . negatives of 4 classes: expected"):
        benchmark_ap_loss(*numbers)


def test_different_gradients_end_the_measurement(monkeypatch):
    monkeypatch.setattr("mmdet_lite.benchmarks.ap_loss.PositiveByPositive.apply", _other)
    with pytest.raises(AssertionError, match="not close"):
        benchmark_ap_loss(3, 9, 4, rounds=1)


def _other(logits: torch.Tensor, is_pos: torch.Tensor) -> torch.Tensor:
    return logits.sum()
