"""How many are sampled, which ones, and what the choice does not depend on."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.assigners import IGNORE, NEGATIVE
from mmdet_lite.models.samplers import OHEMSampler, RandomSampler
from mmdet_lite.random_keys import box_keys, image_key

ASSIGNED = torch.tensor([[0, -1, 1, -2, -1, 2, -1]])
KEYS = torch.tensor([[5, 9, 7, 99, 3, 6, 8]])


def _sample(assigned: torch.Tensor = ASSIGNED, keys: torch.Tensor = KEYS, **settings):
    return RandomSampler(**settings).sample(assigned, keys)


def test_largest_keys_win_and_positives_come_first():
    sampled = _sample(num=4, pos_fraction=0.5)
    assert sampled.inds.tolist() == [[2, 5, 1, 6]]
    assert sampled.is_pos.tolist() == [[True, True, False, False]]
    assert sampled.valid.all()
    assert sampled.num_pos.tolist() == [2]
    assert sampled.num_neg.tolist() == [2]


def test_negatives_fill_the_places_that_positives_leave():
    one_positive = ASSIGNED.clamp(max=-1)
    one_positive[0, 5] = 0
    sampled = _sample(one_positive, num=4, pos_fraction=0.5)
    assert sampled.inds.tolist() == [[5, 1, 6, 2]]
    assert sampled.num_pos.tolist() == [1]


def test_positives_do_not_fill_the_places_of_negatives():
    sampled = _sample(ASSIGNED.clamp(min=0), num=6, pos_fraction=0.5)
    assert sampled.num_pos.tolist() == [3]
    assert sampled.num_neg.tolist() == [0]
    assert sampled.valid.tolist() == [[True] * 3 + [False] * 3]


def test_ignored_priors_are_never_taken_and_padding_points_at_the_first():
    sampled = _sample(num=100, pos_fraction=0.5)
    assert sampled.inds.tolist() == [[2, 5, 0, 1, 6, 4, 0]]
    assert sampled.valid.tolist() == [[True] * 6 + [False]]
    assert not (sampled.inds == 3).any()


@pytest.mark.parametrize(("bound", "expected"), [(0, 0), (1, 2), (1.25, 2), (1.5, 3), (9, 3)])
def test_negatives_are_bounded_by_a_multiple_of_the_positives(bound, expected):
    sampled = _sample(num=7, pos_fraction=0.3, neg_pos_ub=bound)
    assert sampled.num_pos.tolist() == [2]
    assert sampled.num_neg.tolist() == [expected]
    assert bool((sampled.is_pos <= sampled.valid).all())


def test_bound_counts_no_positives_as_one():
    no_positive = ASSIGNED.clamp(max=NEGATIVE)
    assert _sample(no_positive, num=6, pos_fraction=0.5, neg_pos_ub=2).num_neg.tolist() == [2]


@pytest.mark.parametrize(("fraction", "num_pos", "num_neg"), [(0, 0, 3), (1, 3, 1), (0.49, 1, 3)])
def test_share_of_positives_is_rounded_down(fraction, num_pos, num_neg):
    sampled = _sample(num=4, pos_fraction=fraction)
    assert (sampled.num_pos.tolist(), sampled.num_neg.tolist()) == ([num_pos], [num_neg])


def test_where_all_is_ignored_nothing_is_valid():
    sampled = _sample(torch.full((1, 7), IGNORE), num=4, pos_fraction=0.5)
    assert sampled.inds.tolist() == [[0] * 4]
    assert not sampled.valid.any()
    assert not sampled.is_pos.any()


def test_no_priors_give_no_samples():
    empty = torch.zeros(2, 0, dtype=torch.long)
    assert _sample(empty, empty, num=4, pos_fraction=0.5).inds.shape == (2, 0)


def _random_assignment(num_images: int, num_priors: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-2, 3, (num_images, num_priors), generator=generator)


def _keys(slots: list[int], ids: torch.Tensor, iteration: int = 0) -> torch.Tensor:
    return box_keys(torch.tensor([image_key(0, iteration, slot) for slot in slots]), ids, 1)


def test_batch_equals_its_single_images_in_any_layout():
    assigned, ids = _random_assignment(4, 200), torch.arange(200)
    sampler = RandomSampler(num=32, pos_fraction=0.5)
    together = sampler.sample(assigned, _keys([0, 1, 2, 3], ids))
    for slots in ([2], [3, 1], [1, 2, 3, 0]):
        part = sampler.sample(assigned[slots], _keys(slots, ids))
        assert torch.equal(part.inds, together.inds[slots])
        assert torch.equal(part.valid, together.valid[slots])


def test_padding_and_order_of_the_priors_do_not_change_who_is_taken():
    assigned, ids = _random_assignment(2, 200), torch.arange(200) * 7
    sampler = RandomSampler(num=32, pos_fraction=0.5)
    expected = ids[sampler.sample(assigned, _keys([0, 1], ids)).inds]
    order = torch.randperm(260, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([assigned, torch.full((2, 60), IGNORE)], dim=1)[:, order]
    padded_ids = torch.cat([ids, torch.arange(60) + 9000])[order]
    chosen = sampler.sample(padded, _keys([0, 1], padded_ids)).inds
    assert torch.equal(padded_ids[chosen], expected)


def test_same_keys_choose_the_same_and_another_iteration_others():
    assigned, ids = _random_assignment(1, 500), torch.arange(500)
    sampler = RandomSampler(num=64, pos_fraction=0.5)
    first = sampler.sample(assigned, _keys([0], ids)).inds
    assert torch.equal(sampler.sample(assigned, _keys([0], ids)).inds, first)
    assert not torch.equal(sampler.sample(assigned, _keys([0], ids, iteration=1)).inds, first)
    assert not torch.equal(sampler.sample(assigned, _keys([1], ids)).inds, first)


def test_every_prior_is_chosen_equally_often():
    trials, num_neg, num_pos = 4000, 12, 8
    assigned = torch.tensor([NEGATIVE] * num_neg + [0] * num_pos).expand(trials, -1)
    keys = torch.tensor([image_key(0, iteration, 0) for iteration in range(trials)])
    sampled = RandomSampler(num=8, pos_fraction=0.25).sample(
        assigned, box_keys(keys, torch.arange(20), 1)
    )
    counts = torch.bincount(sampled.inds.flatten(), minlength=20).double() / trials
    expected = torch.tensor([6 / num_neg] * num_neg + [2 / num_pos] * num_pos).double()
    spread = (expected * (1 - expected) / trials).sqrt()
    assert bool(((counts - expected).abs() < 5 * spread).all())


def test_hard_examples_are_those_of_the_highest_loss():
    losses = torch.tensor([[0.5, 0.9, 0.7, 9.9, 0.3, 0.6, 0.8]])
    sampled = OHEMSampler(num=4, pos_fraction=0.5).sample(ASSIGNED, losses)
    assert sampled.inds.tolist() == [[2, 5, 1, 6]]
    nothing = OHEMSampler(num=4, pos_fraction=0.5).sample(ASSIGNED, torch.zeros(1, 7))
    assert nothing.num_pos.tolist() == [2]
    assert nothing.num_neg.tolist() == [2]
    assert OHEMSampler(num=4, pos_fraction=0.5).sample(ASSIGNED, -torch.zeros(1, 7)).is_pos.any()


@pytest.mark.parametrize("num_pos", [0, 1, 5, 6, 7, 40])
@pytest.mark.parametrize("num_neg", [0, 3, 60])
def test_choice_is_the_largest_keys_of_each_kind(num_pos, num_neg):
    """Beside a choice that looks at one prior after the other."""
    generator = torch.Generator().manual_seed(num_pos)
    assigned = torch.tensor([3] * num_pos + [NEGATIVE] * num_neg + [IGNORE] * 9)
    assigned = assigned[torch.randperm(len(assigned), generator=generator)]
    keys = torch.randint(1 << 61, assigned.shape, generator=generator)
    falling = keys.argsort(descending=True).tolist()
    positives = [i for i in falling if assigned[i] == 3][:6]
    negatives = [i for i in falling if assigned[i] == NEGATIVE][: 12 - len(positives)]
    sampled = _sample(assigned[None], keys[None], num=12, pos_fraction=0.5)
    assert sampled.inds[sampled.valid].tolist() == positives + negatives
    assert sampled.num_pos.tolist() == [len(positives)]
