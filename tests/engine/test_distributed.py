"""Run with: pytest tests/engine/test_distributed.py"""

from __future__ import annotations

from torch import nn

from mmdet_lite.engine.distributed import (
    from_main,
    gather_to_main,
    is_main,
    max_over_processes,
    mean_over_processes,
    rank,
    world_size,
    wrap,
)


def test_a_lone_process_is_the_main_one_and_talks_to_itself():
    assert (rank(), world_size(), is_main()) == (0, 1, True)
    assert mean_over_processes([1.0, 2.0]) == max_over_processes([1.0, 2.0]) == [1.0, 2.0]
    assert gather_to_main("a") == ["a"] and from_main("a") == "a"
    model = nn.Linear(1, 1)
    assert wrap(model) is model
