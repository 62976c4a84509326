"""Run with: pytest tests/engine/test_distributed.py"""

from __future__ import annotations

import pytest
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmdet_lite.engine.distributed import is_main, rank, unwrap, world_size


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_lone_process_is_the_main_one():
    assert (rank(), world_size(), is_main()) == (0, 1, True)


def test_the_model_is_found_inside_its_wrapper(process_group):
    model = nn.Linear(1, 1)
    assert unwrap(DistributedDataParallel(model)) is model
    assert unwrap(model) is model
    assert (rank(), world_size(), is_main()) == (0, 1, True)
