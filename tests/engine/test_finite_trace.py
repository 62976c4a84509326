"""Run with: pytest tests/engine/test_finite_trace.py"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdet_lite.engine.finite_trace import FiniteTrace, is_finite


class Scale(nn.Module):
    """Multiplies; a factor of 1e30 squared leaves float32's range."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Root(nn.Module):
    """A square root, whose gradient at 0 is infinite."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


class Chain(nn.Module):
    """A linear layer, then modules in a row; ``between`` works in the code of the chain itself."""

    def __init__(self, *modules: nn.Module, between=lambda x: x):
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.rest = nn.Sequential(*modules)
        self.between = between
        nn.init.eye_(self.first.weight)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": self.rest(self.between(self.first(x))).sum()}


def run(model: nn.Module, values=(1.0, 2.0)) -> FiniteTrace:
    trace = FiniteTrace(model)
    trace.backward(trace.forward(torch.tensor([values]))["loss"])
    return trace


@dataclass
class Nested:
    names: list[str]
    values: dict[str, tuple]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_found_in_nested_containers(value):
    good = Nested(["a"], {"x": (torch.ones(2), None, torch.tensor([1]), torch.tensor([True]))})
    bad = Nested(["a"], {"x": (torch.ones(2), torch.tensor([1.0, value]))})
    assert is_finite([good, {"y": good}, 3, "inf", math.inf])  # only tensors are looked at
    assert not is_finite([good, {"y": bad}])


def test_a_good_pass_blames_nothing():
    trace = run(Chain(Scale(2.0), nn.ReLU()))
    assert (trace.made_by, trace.received_by, trace.backward_step) == (None, None, None)


def test_module_that_makes_an_infinity_is_named():
    trace = run(Chain(Scale(1e30), Scale(1e30), nn.ReLU()))
    assert (trace.made_by, trace.received_by) == ("rest.1", None)
    assert trace.largest_input == pytest.approx(2e30)


def test_module_with_a_bad_weight_is_named():
    model = Chain(nn.Linear(2, 2), nn.Linear(2, 2))
    model.rest[1].weight.data[0, 1] = math.nan
    assert run(model).made_by == "rest.1"


def test_number_made_between_modules_is_told_by_its_receiver():
    trace = run(Chain(nn.ReLU(), Scale(1.0), between=lambda x: x / 0))
    assert (trace.made_by, trace.received_by) == ("", "rest")


def test_batch_that_is_not_finite_is_told():
    trace = run(Chain(nn.ReLU()), (math.nan, 1.0))
    assert (trace.made_by, trace.received_by) == (None, "")


def test_module_that_hides_a_bad_input_in_place_is_not_blamed():
    clean = nn.Hardtanh(inplace=True)  # overwrites the infinities of its own input
    trace = run(Chain(Scale(1e30), Scale(1e30), clean))
    assert trace.made_by == "rest.1"


def test_gradient_that_only_backward_makes_is_named_with_its_line():
    trace = run(Chain(Scale(3.0), Root(), Scale(2.0)), (0.0, 4.0))
    assert trace.made_by is None
    assert trace.backward_step.operation == "SqrtBackward0"
    assert trace.backward_step.module == "rest.1"
    file, number, code = trace.backward_step.line.split(":", 2)
    assert file.endswith("test_finite_trace.py") and int(number) > 0
    assert code == " return x.sqrt()"


def test_gradient_of_an_operation_between_modules_belongs_to_the_one_around():
    trace = run(Chain(Scale(3.0), nn.ReLU(inplace=True), between=torch.sqrt), (0.0, 4.0))
    assert (trace.backward_step.module, trace.backward_step.operation) == ("", "SqrtBackward0")
    assert trace.backward_step.line.endswith("self.rest(self.between(self.first(x))).sum()}")


def test_module_that_is_called_twice_is_named_once():
    root = Root()
    trace = run(Chain(root, Scale(1.0), root), (0.0, 4.0))
    assert trace.backward_step.module == "rest.0"


class Checkpointed(Chain):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = checkpoint(self.rest, self.first(x), use_reentrant=False)
        return {"loss": hidden.sum()}


def test_checkpointed_modules_are_traced():
    trace = run(Checkpointed(Scale(3.0), Root(), nn.Linear(2, 2)), (0.0, 4.0))
    assert trace.backward_step.module == "rest.1"
    assert run(Checkpointed(Scale(1e30), Scale(1e30), nn.Linear(2, 2))).made_by == "rest.1"


def test_tracing_changes_no_number_and_leaves_no_hook():
    torch.manual_seed(0)
    model = Chain(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(inplace=True))
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    loss = model(x)["loss"]
    loss.backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    trace = FiniteTrace(model)
    traced = trace.forward(x)["loss"]
    trace.backward(traced)
    assert torch.equal(traced, loss)
    assert all(map(torch.equal, gradients, [p.grad for p in model.parameters()]))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not torch.is_anomaly_enabled()
