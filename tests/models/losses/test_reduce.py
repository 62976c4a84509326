"""Weighted sums and the two normalisers in one process; several: test_global_normalizer.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mmdet_lite.models.losses.reduce import batch_factor, check_normalizer, normalize, weighted_sum


def test_weighted_sum_is_divided():
    total = weighted_sum(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 0.5, 0]), 4)
    assert total == 2 / 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_elements_without_weight_do_not_count_whatever_they_are(value):
    elements = torch.tensor([1.0, value], requires_grad=True)
    total = weighted_sum(elements, torch.tensor([2.0, 0]), 1)
    total.backward()
    assert total == 2
    assert elements.grad.tolist() == [2, 0]


def test_no_elements_sum_to_zero():
    assert weighted_sum(torch.zeros(0), torch.zeros(0), 1) == 0


@pytest.mark.parametrize("normalizer", ["rank", "global"])
def test_one_process_divides_by_its_own_number(normalizer):
    assert normalize(torch.tensor(7.0), normalizer) == 7
    assert normalize(torch.tensor(0.5), normalizer, at_least=1) == 1
    assert batch_factor(torch.zeros(3, 2), normalizer) == 3


def test_unknown_normalizer_is_refused():
    with pytest.raises(ValueError, match="normalizer must be 'rank' or 'global', got 'world'"):
        check_normalizer(SimpleNamespace(), "world")
