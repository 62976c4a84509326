"""Where a number that is not finite comes from: the first module, or the first backward step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from mmdet_lite.structures.samples import Batch

_TORCH = str(Path(torch.__file__).parent)
_FRAME = re.compile(r'File "(.+)", line (\d+), in .+\n\s*(.*)')


@dataclass
class _Call:
    """One call of a module."""

    module: str
    inputs_finite: bool
    input_nodes: set[Node]
    output_nodes: set[Node] = field(default_factory=set)


@dataclass
class BackwardStep:
    """The gradient of one operation.

    Attributes:
        operation: autograd's name of it.
        module: the innermost module that the operation belongs to; '' for the model itself.
        line: the source line that called the operation, outside of torch.
    """

    operation: str
    module: str
    line: str


class FiniteTrace:
    """Runs a model once and finds where the first number that is not finite was made.

    Attributes:
        made_by: name of the first module, in the order of execution, whose output is not finite
            though its inputs were; '' for the model itself, None if there is no such module.
        largest_input: the largest absolute value among that module's inputs.
        received_by: the first module with an input that is not finite, if no module before it made
            one: it was made in between, in the code of ``made_by``, or came with the batch.
        backward_step: the first backward step that turned finite gradients into others, or None.

    Args:
        model: in training mode.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.made_by: str | None = None
        self.largest_input = 0.0
        self.received_by: str | None = None
        self.backward_step: BackwardStep | None = None
        self._open: list[_Call] = []
        self._finished: list[_Call] = []  # a module after those inside it

    def forward(self, batch: Batch) -> Any:
        """Call the model on a batch, and return what it returns."""
        # Hooks leave with this pass: activation checkpointing calls modules again in backward.
        handles = []
        for name, module in self.model.named_modules():
            before, after = partial(self._before, name), self._after
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        try:
            # Anomaly mode notes the source line of every operation; it need not look for NaN.
            with torch.autograd.set_detect_anomaly(True, check_nan=False):
                return self.model(batch)
        finally:
            for handle in handles:
                handle.remove()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss that :meth:`forward` led to."""
        nodes = _graph({loss.grad_fn}, stop=set())
        handles = [node.register_hook(partial(self._after_node, node)) for node in nodes]
        try:
            loss.backward()
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        # Now, and not after the call, which may change its inputs in place.
        finite = is_finite((args, kwargs))
        if not finite and self.made_by is None and self.received_by is None:
            self.received_by = name
        self._open.append(_Call(name, finite, _nodes((args, kwargs))))

    def _after(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        call = self._open.pop()
        if self.made_by is None and call.inputs_finite and not is_finite(output):
            self.made_by = call.module
            self.largest_input = largest((args, kwargs))
        call.output_nodes = _nodes(output)
        self._finished.append(call)

    def _after_node(self, node: Node, inputs: tuple, outputs: tuple) -> None:
        # Autograd names them as the forward pass does: gradients come in by the outputs.
        if self.backward_step is None and is_finite(outputs) and not is_finite(inputs):
            self.backward_step = BackwardStep(node.name(), self._module_of(node), _line(node))

    def _module_of(self, node: Node) -> str:
        for call in self._finished:
            if node in _graph(call.output_nodes, stop=call.input_nodes):
                return call.module
        return ""


def is_finite(value: Any) -> bool:
    """Whether all numbers are finite in the tensors of nested containers and dataclasses."""
    return all(bool(tensor.detach().isfinite().all()) for tensor in _tensors(value))


def largest(value: Any) -> float:
    """The largest absolute value in the floating-point tensors of nested containers, or 0."""
    tensors = (t.detach() for t in _tensors(value) if t.is_floating_point() and t.numel())
    return max((tensor.abs().max().item() for tensor in tensors), default=0.0)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _tensors([getattr(value, f.name) for f in fields(value)])
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _nodes(value: Any) -> set[Node]:
    return {tensor.grad_fn for tensor in _tensors(value) if tensor.grad_fn is not None}


def _graph(ends: Iterable[Node], stop: Set[Node]) -> set[Node]:
    """The nodes that lead to ``ends``, up to those in ``stop``, which are left out."""
    found: set[Node] = set()
    waiting = list(ends)
    while waiting:
        node = waiting.pop()
        if node is None or node in found or node in stop:
            continue
        found.add(node)
        waiting += [before for before, _ in node.next_functions]
    return found


def _line(node: Node) -> str:
    """'file:line: code' of the innermost frame outside of torch."""
    frames = [_FRAME.search(frame) for frame in node.metadata.get("traceback_", [])]
    ours = [match for match in frames if match and not match[1].startswith(_TORCH)]
    return "{}:{}: {}".format(*ours[-1].groups()) if ours else "unknown"
