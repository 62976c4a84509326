"""The parts of a model whose shapes follow from the images' alone, compiled by torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)

MOST_SHAPES = 8  # each takes up to minutes
_MOST_GRAPHS_A_SHAPE = 8  # of one method: modules that share it, layers frozen in mid-run

Shape = tuple[int, ...]


class CompiledRegions:
    """Compiles methods of a model's modules, anew for each of the first few shapes of images.

    Other shapes, and evaluation, are computed as if nothing were compiled. Which shapes those are
    is part of a run's state, as compiled code may round otherwise. Parameters, their names, and
    hooks stay as they are; a copy of the model is not compiled.

    Args:
        model: on its device, before it is wrapped. Its ``regions()`` gives the modules, and the
            names of their methods.
        mode: of ``torch.compile``: 'default', or 'reduce-overhead', which records CUDA graphs.

    Raises:
        ValueError: the model has no ``regions()``, the device cannot record graphs, or nothing can
            be compiled on this machine.
    """

    def __init__(self, model: nn.Module, mode: str):
        if not hasattr(model, "regions"):
            raise ValueError(
                f"train.compile={mode!r}: {type(model).__name__} has no method regions() that "
                "tells what can be compiled; see mmdet_lite/models/detectors/detector.py"
            )
        _check_machine(mode, next(model.parameters()).device)
        _allow_recompiling()
        self.mode = mode
        self.shapes: list[Shape] = []
        self.num_graphs = 0
        self._is_on = False
        self._has_warned = False
        for module, name in model.regions():
            setattr(module, name, _Region(module, name, mode, lambda: self._is_on))

    @contextmanager
    def step(self, shape: Sequence[int]) -> Iterator[None]:
        """Compute the regions compiled inside, as far as this shape is compiled.

        Args:
            shape: of the images, (B, 3, H, W).
        """
        self._is_on = self._admit(tuple(shape))
        if self._is_on and self.mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # the last step's outputs may be overwritten
        before = _count_graphs()
        try:
            yield
        finally:
            self._is_on = False
        if new := _count_graphs() - before:
            self.num_graphs += new
            self._tell(new, shape)

    def _admit(self, shape: Shape) -> bool:
        if shape in self.shapes:
            return True
        if len(self.shapes) < MOST_SHAPES:
            self.shapes.append(shape)
            return True
        if not self._has_warned:
            logger.warning(
                "train.compile: %s came after %d other shapes; it and all further ones are not "
                "compiled. For fewer shapes set train_data.pad_size=(width, height), or a larger "
                "train_data.size_divisor",
                *(_text(shape), MOST_SHAPES),
            )
            self._has_warned = True
        return False

    def _tell(self, new: int, shape: Sequence[int]) -> None:
        logger.info(
            "train.compile: compiled %d graphs for images of %s; %d graphs for %d shapes so far, "
            "of at most %d",
            *(new, _text(shape), self.num_graphs, len(self.shapes), MOST_SHAPES),
        )


class _Region:
    """A module's method, compiled where that is switched on."""

    def __init__(self, module: nn.Module, name: str, mode: str, is_on: Callable[[], bool]):
        self._module, self._name, self._is_on = module, name, is_on
        self._plain = getattr(module, name)
        self._compiled = torch.compile(self._plain, mode=mode, dynamic=False)

    def __call__(self, *args: Any) -> Any:
        return self._compiled(*args) if self._is_on() else self._plain(*args)

    def __deepcopy__(self, memo: dict) -> Callable:
        """The copied module's own method, where this one would compute with the original."""
        copied = memo[id(self._module)]
        return getattr(type(copied), self._name).__get__(copied)


def _check_machine(mode: str, device: torch.device) -> None:
    if mode == "reduce-overhead" and device.type != "cuda":
        raise ValueError(
            f"train.compile='reduce-overhead' records CUDA graphs, but the model is on "
            f"{device.type}: set train.compile='default', or leave it out"
        )
    try:
        torch.compile(_double, dynamic=False)(torch.ones(8, device=device))
    except RuntimeError as error:
        needed = "Triton" if device.type == "cuda" else "a C++ compiler (apt-get install g++)"
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ValueError(
            f"train.compile={mode!r}: torch cannot compile for {device.type} on this machine: "
            f"{reason}\nIt needs {needed} and Python's headers (python3-dev). Without them leave "
            "train.compile out"
        ) from error


def _double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def _allow_recompiling() -> None:
    """torch by itself stops after 8 graphs of a method, counted over all modules that share it."""
    config = torch._dynamo.config
    # cache_size_limit: the name before torch 2.7
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, name, max(getattr(config, name), MOST_SHAPES * _MOST_GRAPHS_A_SHAPE))


def _count_graphs() -> int:
    """How many graphs torch has compiled in this process, forward and backward as one."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
