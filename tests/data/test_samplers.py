from itertools import islice

import numpy as np
import pytest

from mmdet_lite.data.samplers import EvalBatchSampler, TrainBatchSampler

WIDE, TALL = (30, 40), (40, 30)


def sizes(num_wide, num_tall):
    mixed = [WIDE] * num_wide + [TALL] * num_tall
    return np.array(mixed)[np.random.default_rng(0).permutation(len(mixed))]


def indices(batches):
    return [[ref.index for ref in batch] for batch in batches]


@pytest.mark.parametrize("num_wide", [0, 5, 13, 23])
def test_every_image_is_shown_once_an_epoch(num_wide):
    sampler = TrainBatchSampler(sizes(num_wide, 23 - num_wide), batch_size=4, seed=1)
    assert sampler.iterations_per_epoch == 6
    for epoch in range(2):
        order = sampler.epoch_order(epoch)
        assert sorted(order[:23]) == list(range(23))
        assert order[23:].tolist() == order[:1].tolist()  # filled up from the beginning


def test_batches_hold_one_orientation_but_for_the_leftovers():
    image_sizes = sizes(14, 11)
    sampler = TrainBatchSampler(image_sizes, batch_size=4, seed=1)
    wide = image_sizes[:, 1] >= image_sizes[:, 0]
    batches = wide[sampler.epoch_order(0)].reshape(-1, 4)
    assert [len(set(batch)) for batch in batches[:5]] == [1] * 5  # 3 wide, 2 tall, mixed among them
    assert batches[:5, 0].tolist() != sorted(batches[:5, 0].tolist(), reverse=True)
    assert len(batches) == 7  # 2 wide and 3 tall are left


def test_without_grouping_order_is_a_plain_permutation():
    plain = TrainBatchSampler(sizes(14, 10), 4, seed=1, group_by_aspect=False)
    assert sorted(plain.epoch_order(0)) == list(range(24))
    unshuffled = TrainBatchSampler(sizes(14, 10), 4, seed=1, group_by_aspect=False, shuffle=False)
    assert unshuffled.epoch_order(7).tolist() == list(range(24))


def test_order_depends_on_seed_and_epoch():
    one, other = (TrainBatchSampler(sizes(9, 9), 3, seed=seed) for seed in (1, 2))
    assert one.epoch_order(0).tolist() != one.epoch_order(1).tolist()
    assert one.epoch_order(0).tolist() != other.epoch_order(0).tolist()
    again = TrainBatchSampler(sizes(9, 9), 3, seed=1)
    assert one.epoch_order(5).tolist() == again.epoch_order(5).tolist()


def test_two_ranks_share_the_batch_of_one():
    image_sizes = sizes(10, 9)
    single = islice(TrainBatchSampler(image_sizes, 4, seed=3), 12)
    ranks = [
        islice(TrainBatchSampler(image_sizes, 2, seed=3, rank=rank, world_size=2), 12)
        for rank in range(2)
    ]
    for whole, first, second in zip(single, *ranks, strict=True):
        assert whole == first + second
        assert [ref.slot for ref in whole] == [0, 1, 2, 3]


@pytest.mark.parametrize("start", [1, 6, 7, 20, 10**12])
def test_starting_at_any_step_continues_the_run(start):
    image_sizes = sizes(10, 9)
    later = list(islice(TrainBatchSampler(image_sizes, 3, seed=3, start_iteration=start), 9))
    assert [batch[0].iteration for batch in later] == list(range(start, start + 9))
    assert [batch[0].epoch for batch in later] == [i // 7 for i in range(start, start + 9)]
    if start < 100:
        assert later == list(islice(TrainBatchSampler(image_sizes, 3, seed=3), start, start + 9))


def test_batch_larger_than_the_data_set_repeats_it():
    batch = next(iter(TrainBatchSampler(sizes(2, 1), batch_size=8, seed=0)))
    assert sorted(np.bincount([ref.index for ref in batch])) == [2, 3, 3]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="the data set has no images"):
        TrainBatchSampler(np.zeros((0, 2), dtype=int), 2, seed=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        TrainBatchSampler(sizes(2, 2), 0, seed=0)


def test_evaluation_shares_whole_batches_among_the_ranks():
    ranks = [EvalBatchSampler(11, batch_size=2, rank=rank, world_size=4) for rank in range(4)]
    assert indices(ranks[0]) == [[0, 1], [8, 9]]
    assert indices(ranks[1]) == [[2, 3], [10]]
    assert indices(ranks[3]) == [[6, 7]]
    assert [len(rank) for rank in ranks] == [2, 2, 1, 1]
    assert {rank.most_batches for rank in ranks} == {2}
    seen = [index for rank in ranks for batch in indices(rank) for index in batch]
    assert sorted(seen) == list(range(11))
    assert list(EvalBatchSampler(1, 2, rank=1, world_size=2)) == []


def test_batches_at_the_start_can_be_left_out():
    sampler = EvalBatchSampler(7, batch_size=2, rank=1, world_size=2)
    train = TrainBatchSampler(sizes(4, 3), 2, seed=3, start_iteration=5)
    for each in (sampler, train):
        expected = list(islice(each, 9))[1:]
        each.offset = 1
        assert list(islice(each, len(expected))) == expected
