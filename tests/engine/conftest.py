"""A toy model, toy data and a factory for trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import torch
from torch import Tensor, nn

from mmdet_lite.engine.log import RunLog
from mmdet_lite.engine.optimizer import build_optimizer
from mmdet_lite.engine.run_data import RunData
from mmdet_lite.engine.schedule import MultiStepSchedule
from mmdet_lite.engine.settings import TrainSettings
from mmdet_lite.engine.trainer import Trainer
from mmdet_lite.structures.samples import Batch, ImageMeta

ITERATIONS_PER_EPOCH = 4
SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}


class ToyModel(nn.Module):
    """Convolution, batch norm, dropout (which needs the global generator) and a linear layer."""

    def __init__(self, num_classes: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.2)
        self.fc_cls = nn.Linear(4, num_classes)

    def logits(self, images: Tensor) -> Tensor:
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        return self.fc_cls(self.dropout(features))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.logits(batch.images)
        labels = batch.keys % logits.shape[1]
        return {
            "loss_cls": nn.functional.cross_entropy(logits, labels),
            "loss_size": 0.01 * logits.square().mean(),
            "acc": 100.0 * (logits.argmax(1) == labels).float().mean(),
        }


def toy_batch(iteration: int, size: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(iteration)
    slots = range(size)
    return Batch(
        images=torch.randn(size, 3, 6, 6, generator=generator),
        shapes=torch.full((size, 2), 6),
        pad_shapes=torch.full((size, 2), 6),
        keys=torch.randint(100, (size,), generator=generator),
        gt=None,
        metas=[
            ImageMeta(1000 + iteration * size + slot, "toy", slot, slot, (6, 6), (6, 6))
            for slot in slots
        ],
    )


def toy_loader(start: int) -> Iterator[Batch]:
    return (toy_batch(iteration) for iteration in count(start))


def evaluate(model: nn.Module, enter: Callable[[str], None]) -> dict[str, float]:
    assert not model.training
    enter("validation")
    return {"toy_mAP": -float(model(toy_batch(-1, size=8))["loss_cls"])}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def make_trainer(tmp_path):
    """Build a trainer of new objects; keyword arguments override the toy's parts or settings."""
    logs = []

    def make(
        model=None,
        optimizer=SGD,
        param_groups=None,
        schedule=None,
        hooks=(),
        loader=toy_loader,
        evaluate=evaluate,
        metric_names=None,
        **settings,
    ):
        torch.manual_seed(0)
        model = model or ToyModel()
        log = RunLog(settings.pop("work_dir", tmp_path)).open()
        logs.append(log)
        return Trainer(
            model=model,
            optimizer=build_optimizer(optimizer, model, param_groups),
            schedule=schedule or MultiStepSchedule(milestones=[2], warmup_iters=3),
            data=RunData(loader, ITERATIONS_PER_EPOCH, 2, evaluate, metric_names),
            settings=TrainSettings(**settings),
            log=log,
            hooks=hooks,
            meta={"classes": ["a", "b", "c"]},
        )

    yield make
    for log in logs:
        log.close()


@pytest.fixture
def toy_model():
    return ToyModel


@pytest.fixture
def make_batch():
    return toy_batch
