"""Compilation without a compiler: what is compiled, when, and what stays as it is.

With Inductor, slow: tests/apis/test_compiled_training.py
"""

from __future__ import annotations

import copy
import logging
from itertools import count

import pytest
import torch
from torch import nn

from mmdet_lite.engine import compiled_regions
from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.engine.compiled_regions import CompiledRegions
from mmdet_lite.engine.hooks import Hook

MOST = compiled_regions.MOST_SHAPES


class Backend:
    """Traces, and runs what it has traced as it is.

    Attributes:
        requests: methods and modes that torch was asked to compile.
        graphs: the number of graphs traced.
        runs: how often one of them ran.
    """

    def __init__(self, monkeypatch):
        self.requests, self.graphs, self.runs = [], 0, 0
        self._compile = torch.compile
        monkeypatch.setattr(torch, "compile", self._request)

    def _request(self, function, mode=None, dynamic=None):
        self.requests.append((function.__name__, mode))
        return self._compile(function, dynamic=dynamic, backend=self)

    def __call__(self, graph, inputs):
        self.graphs += 1

        def run(*args):
            self.runs += 1
            return graph(*args)

        return run


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    torch._dynamo.reset()
    yield Backend(monkeypatch)
    torch._dynamo.reset()


@pytest.fixture
def make_model(toy_model):
    class Model(toy_model):
        def regions(self):
            return [(self, "logits")]

    return lambda: torch.manual_seed(0) and Model()


@pytest.fixture
def sizes(make_batch):
    """Makes a loader whose batches have these widths in turn."""

    def make(*widths):
        def loader(start):
            for iteration in count(start):
                batch = make_batch(iteration)
                batch.images = batch.images[..., : widths[iteration % len(widths)]]
                yield batch

        return loader

    return make


class Freeze(Hook):
    def before_step(self, trainer, batch):
        if trainer.iteration == 4:
            trainer.model.conv.requires_grad_(False)


def images(width=6):
    return torch.randn(2, 3, 6, width)


def test_every_shape_is_compiled_once(backend, make_trainer, make_model, sizes, caplog):
    caplog.set_level(logging.INFO)
    make = dict(loader=sizes(6, 5), max_epochs=2, compile="default", ema={"decay": 0.9})
    make_trainer(make_model(), **make).train()
    # by four validations of each nothing has been compiled, and nothing anew after them
    assert backend.requests == [("_double", None), ("logits", "default")]
    assert (backend.graphs, backend.runs) == (1 + 2, 1 + 8)
    told = [r.getMessage() for r in caplog.records if "train.compile" in r.getMessage()]
    assert ["images of 2 x 3 x 6 x 6" in told[0], "images of 2 x 3 x 6 x 5" in told[1]] == [
        True
    ] * 2
    assert "2 graphs for 2 shapes so far" in told[1] and len(told) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16", "channels_last": True, "ema": {"decay": 0.9, "ramp_up": 5}},
        {"accumulate": 3, "clip_grad_norm": 0.5},
        {"hooks": [Freeze()]},
    ],
    ids=["ema", "accumulate", "freeze"],
)
def test_a_run_comes_to_the_weights_of_one_that_is_not_compiled(
    backend, make_trainer, make_model, sizes, tmp_path, settings
):
    runs = {}
    for mode in (None, "default"):
        trainer = make_trainer(
            *(make_model(),),
            loader=sizes(6, 5),
            max_iters=8,
            compile=mode,
            work_dir=tmp_path / str(mode),
            **settings,
        )
        trainer.train()
        runs[mode] = load_checkpoint(tmp_path / str(mode) / "iter_8.pth")
    assert backend.runs == 1 + 8
    for part in ("model", "ema"):
        if runs[None][part] is not None:
            torch.testing.assert_close(runs["default"][part], runs[None][part])


def test_layers_frozen_in_mid_run_are_compiled_anew(backend, make_trainer, make_model, sizes):
    trainer = make_trainer(
        make_model(), loader=sizes(6, 5), hooks=[Freeze()], max_iters=8, compile="default"
    )
    trainer.train()
    assert trainer.compiled.num_graphs == 4
    assert backend.runs == 1 + 8


def test_shapes_above_the_limit_are_not_compiled(
    backend, make_trainer, make_model, sizes, caplog, monkeypatch
):
    monkeypatch.setattr(compiled_regions, "MOST_SHAPES", 1)
    make_trainer(make_model(), loader=sizes(6, 5, 4), max_iters=6, compile="default").train()
    assert (backend.graphs, backend.runs) == (1 + 1, 1 + 2)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("train.compile: 2 x 3 x 6 x 5 came after 1 other shapes")
    assert "train_data.pad_size" in warnings[0]


def test_torch_compiles_as_many_shapes_as_are_admitted(backend, make_model):
    model = make_model()
    regions = CompiledRegions(model, "default")
    for width in range(3, 3 + MOST + 2):
        for _ in range(2):
            with regions.step((2, 3, 6, width)):
                model.logits(images(width))
    assert (backend.graphs, backend.runs) == (1 + MOST, 1 + 2 * MOST)


def test_a_resumed_run_compiles_the_shapes_of_the_run_before(
    make_trainer, make_model, sizes, monkeypatch, tmp_path
):
    monkeypatch.setattr(compiled_regions, "MOST_SHAPES", 1)
    settings = dict(loader=sizes(6, 5), max_iters=4, checkpoint_interval=1, keep_last=None)
    settings["compile"] = "default"
    make_trainer(make_model(), **settings).train()
    resumed = make_trainer(make_model(), **settings)
    resumed.resume(tmp_path / "iter_1.pth")  # its first batch will be of the other shape
    resumed.train()
    assert resumed.compiled.shapes == [(2, 3, 6, 6)]


def test_a_resume_without_compilation_is_told(make_trainer, make_model, tmp_path, caplog):
    make_trainer(make_model(), max_iters=1, compile="default").train()
    make_trainer(make_model(), max_iters=2).resume(tmp_path / "iter_1.pth")
    assert "other arithmetic (train.compile default, now None)" in caplog.text


def test_names_and_copies_of_the_model_stay_as_they_were(backend, make_model):
    model, names = make_model(), list(make_model().state_dict())
    regions = CompiledRegions(model, "default")
    assert list(model.state_dict()) == names
    copied = copy.deepcopy(model)
    with torch.no_grad():
        model.fc_cls.bias += 1
    x = images()
    with regions.step(x.shape):
        torch.testing.assert_close(model.eval().logits(x), copied.eval().logits(x) + 1)
    assert backend.runs == 1 + 1  # the copy's has not


def test_hooks_of_a_compiled_module_are_called():
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    model.regions = lambda: [(model[0], "forward")]
    regions, seen = CompiledRegions(model, "default"), []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    with regions.step((2, 3, 6, 6)):
        model(images())
    assert seen == [(2, 2, 4, 4)]


def test_a_machine_that_cannot_compile_is_told(make_model, monkeypatch):
    def fail(function, **arguments):
        def call(x):
            raise RuntimeError("\nNo working C++ compiler found in (None, 'g++')\nmore")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ValueError) as error:
        CompiledRegions(make_model(), "default")
    assert "train.compile='default'" in str(error.value)
    assert "this machine: No working C++ compiler found in (None, 'g++')\n" in str(error.value)
    assert "g++" in str(error.value) and "leave train.compile out" in str(error.value)


def test_cuda_graphs_need_a_gpu(make_model):
    with pytest.raises(ValueError, match="records CUDA graphs, but the model is on cpu: set"):
        CompiledRegions(make_model(), "reduce-overhead")


def test_cuda_graphs_are_what_torch_is_asked_for(backend, make_model, monkeypatch):
    begun = []
    monkeypatch.setattr(compiled_regions, "_check_machine", lambda mode, device: None)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1))
    model = make_model()
    regions = CompiledRegions(model, "reduce-overhead")
    for _ in range(2):
        with regions.step((2, 3, 6, 6)):
            model.logits(images())
    assert backend.requests == [("logits", "reduce-overhead")]
    assert len(begun) == 2


def test_a_model_that_does_not_say_what_to_compile_is_told(toy_model):
    with pytest.raises(ValueError, match="ToyModel has no method regions"):
        CompiledRegions(toy_model(), "default")
