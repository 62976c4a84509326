"""MMDetection 3.x's configs, dict to dict.

A pure function: nothing is built, read or downloaded. Every key is translated, or has no effect
here and is listed with the reason, or is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmdet_lite.compat.mmdet.data import Pipeline, eval_data, metric, metrics, train_data
from mmdet_lite.compat.mmdet.models import detector
from mmdet_lite.compat.mmdet.read import Native, Notes, Section
from mmdet_lite.compat.mmdet.training import (
    custom_hooks,
    default_hooks,
    loop,
    optimizer,
    schedule,
)
from mmdet_lite.compat.mmdet.tta import tta
from mmdet_lite.compat.mmdet.writers import writers

# What MMDetection's own programs read from the top of a config.
TOP_KEYS = (
    *("model", "data_preprocessor", "train_dataloader", "val_dataloader", "test_dataloader"),
    *("val_evaluator", "test_evaluator", "train_cfg", "val_cfg", "test_cfg"),
    *("optim_wrapper", "param_scheduler", "auto_scale_lr", "default_hooks", "custom_hooks"),
    *("default_scope", "env_cfg", "vis_backends", "visualizer", "log_processor", "log_level"),
    *("load_from", "resume", "randomness", "work_dir", "launcher", "tta_model", "tta_pipeline"),
    *("custom_imports", "experiment_name", "sync_bn"),
)
# Sections of other forms, and what they are called in this one.
_OTHER_FORMS = {
    "train": "train_cfg, optim_wrapper and the hooks",
    "optimizer": "optim_wrapper.optimizer",
    "param_groups": "optim_wrapper.paramwise_cfg",
    "schedule": "param_scheduler",
    "train_data": "train_dataloader",
    "val_data": "val_dataloader",
    "test_data": "test_dataloader",
    "metric": "val_evaluator and test_evaluator",
    "hooks": "custom_hooks",
    "seed": "randomness.seed",
    "tta": "tta_pipeline and tta_model",
    "distributed": "env_cfg.dist_cfg",
    "data": "train_dataloader, val_dataloader and test_dataloader",
    "optimizer_config": "optim_wrapper.clip_grad",
    "lr_config": "param_scheduler",
    "runner": "train_cfg",
    "checkpoint_config": "default_hooks.checkpoint",
    "evaluation": "val_evaluator and train_cfg.val_interval",
    "log_config": "default_hooks.logger",
    "workflow": "train_cfg",
}
# Names that only the config file itself makes use of.
_OWN_VARIABLES = (
    *("train_pipeline", "test_pipeline", "val_pipeline", "data_root", "dataset_type"),
    *("backend_args", "file_client_args", "img_norm_cfg", "norm_cfg", "max_epochs", "max_iter"),
    *("image_size", "metainfo", "classes", "checkpoint", "batch_augments", "img_scales"),
)


@dataclass
class Translation:
    """A config in this package's form.

    Attributes:
        config: the sections of a native config.
        without_effect: path of a foreign key to why it has no effect here.
        otherwise: path of a foreign key to its value and what is done here instead.
    """

    config: Native
    without_effect: dict[str, str] = field(default_factory=dict)
    otherwise: dict[str, str] = field(default_factory=dict)


def is_mmdet_config(cfg: Mapping[str, Any]) -> bool:
    """Whether a config is in MMDetection's form."""
    model = cfg.get("model")
    inside = isinstance(model, Mapping) and ("train_cfg" in model or "test_cfg" in model)
    return cfg.get("default_scope") == "mmdet" or inside or "optim_wrapper" in cfg


def translate_config(
    cfg: Mapping[str, Any], source: str = "the config", own_types: Container[str] = ()
) -> Translation:
    """Translate a config whose ``_base_`` files have been merged.

    Args:
        cfg: the config, plain dicts and lists inside; it is not changed.
        source: where it comes from, for the message.
        own_types: types of the user's own, whose dicts are taken as they stand.

    Raises:
        ValueError: something in it has no counterpart; all of it is listed with its path.
    """
    notes = Notes(own_types=own_types)
    native = _Translator(Section(_plain(cfg), "", notes), notes).run()
    notes.finish()
    if notes.problems:
        listed = "\n  ".join(notes.problems)
        raise ValueError(
            f"{source} is in MMDetection's form, and {len(notes.problems)} of its settings cannot "
            f"be translated:\n  {listed}\nChange or remove them; docs/migrate.md lists what is "
            "supported"
        )
    return Translation(native, notes.without_effect, notes.otherwise)


class _Translator:
    """The top of the config, section by section."""

    def __init__(self, top: Section, notes: Notes):
        self.top = top
        self.notes = notes

    def run(self) -> Native:
        self._ignore_the_environment()
        self._ignore_variables()
        train = self._train()
        data, pipeline = self._train_data()
        model, padding = self._model(pipeline)
        hooks, more = custom_hooks(self.top.sections("custom_hooks"))
        native: Native = {"model": model}
        if data is not None:
            native["train_data"] = data | padding
        native |= self._evaluation(padding)
        native["tta"] = tta(self.top, native.get("test_data"))
        native["train"] = train | more
        native |= self._optimization(native["train"])
        if hooks:
            native["hooks"] = hooks
        native["writers"] = writers(self.top)
        native |= self._run(native["train"]) | self._environment()
        if self.notes.sync_bn or self.top.take("sync_bn"):
            native["train"]["sync_bn"] = True
        return {name: value for name, value in native.items() if value not in (None, {})}

    def _ignore_the_environment(self) -> None:
        top = self.top
        top.has_no_effect("this package's own", "default_scope", "log_processor")
        top.has_no_effect("logs are complete and say what they must", "log_level")
        top.has_no_effect("torchrun and srun are recognised", "launcher")
        top.has_no_effect("the work dir's name is enough", "experiment_name")
        for name in ("val_cfg", "test_cfg"):
            own = self.top.section(name)
            if own is not None:
                own.expect("type", "ValLoop", "TestLoop", "mmdet.ValLoop", "mmdet.TestLoop")
                own.expect("fp16", False)

    def _environment(self) -> Native:
        """``distributed``, from ``env_cfg``."""
        own = self.top.section_or_empty("env_cfg")
        own.has_no_effect("threads and processes are chosen by themselves", "mp_cfg")
        own.has_no_effect("cuDNN is left at torch's default", "cudnn_benchmark")
        own.has_no_effect("cached memory is left to torch", "resource_limit")
        dist = own.section_or_empty("dist_cfg")
        dist.has_no_effect("NCCL on GPUs, gloo on CPUs", "backend")
        timeout = dist.take("timeout")
        return {"distributed": {"timeout": timeout}} if timeout else {}

    def _ignore_variables(self) -> None:
        """Other names at the top are the config file's own, unless they look like a slip."""
        for name in self.top:
            if name in TOP_KEYS:
                continue
            if name in _OTHER_FORMS and not _is_used(self.top.content, name):
                self.top.problem(
                    name,
                    "is a section of another form of config, which has no effect in this one; "
                    f"here it is {_OTHER_FORMS[name]}",
                )
            near = difflib.get_close_matches(name, TOP_KEYS, n=1, cutoff=0.85)
            if near and name not in _OWN_VARIABLES and abs(len(near[0]) - len(name)) <= 1:
                self.top.problem(name, f"is no section of a config; is {near[0]!r} meant?")
            self.top.has_no_effect("a variable of the file", name)

    def _model(self, pipeline: Pipeline) -> tuple[Native | None, Native]:
        model = self.top.section("model")
        outside = self.top.section("data_preprocessor")
        if model is None:
            if "model" not in self.top:
                self.top.problem("model", "is missing")
            return None, {}
        if outside is not None and "data_preprocessor" not in model:
            content = {**model.content, "data_preprocessor": outside.content}
            self.notes.sections.remove(model)
            model = Section(content, "model", self.notes)
        if outside is not None:
            outside.has_no_effect("as in model.data_preprocessor", *outside)
        return detector(model, "polygon" if pipeline.polygons else "roi_align")

    def _train_data(self) -> tuple[Native | None, Pipeline]:
        own = self.top.section("train_dataloader")
        return train_data(own) if own is not None else (None, Pipeline())

    def _evaluation(self, padding: Native) -> Native:
        """``val_data``, ``test_data`` and ``metric``."""
        native: Native = {}
        sizes = {key: value for key, value in padding.items() if key == "size_divisor"}
        for split in ("val", "test"):
            loader = self.top.section(f"{split}_dataloader")
            evaluators = self.top.sections(f"{split}_evaluator")
            for evaluator in evaluators if loader is None else evaluators[1:]:
                evaluator.has_no_effect("told otherwise", *evaluator)
            if loader is None:
                if evaluators:
                    self.top.problem(f"{split}_dataloader", f"is missing beside {split}_evaluator")
                continue
            measured = [name for one in evaluators for name in metrics(one)]
            native[f"{split}_data"] = eval_data(loader, "segm" in measured) | sizes
            if len(evaluators) > 1:
                self.top.problem(f"{split}_evaluator", "is a list; one evaluator is supported")
            for evaluator in evaluators[:1]:
                translated = metric(evaluator, native[f"{split}_data"])
                first = native.setdefault("metric", translated)
                if first != translated:
                    self.top.problem(
                        "test_evaluator",
                        f"measures otherwise than val_evaluator, {translated} and not {first}, and "
                        "here both are one; set both",
                    )
        return native

    def _train(self) -> Native:
        own = self.top.section("train_cfg")
        native = loop(own) if own is not None else {}
        hooks = self.top.section("default_hooks")
        if hooks is not None:
            native |= default_hooks(hooks, "max_epochs" in native if native else None)
        return native

    def _optimization(self, train: Native) -> Native:
        """``optimizer``, ``param_groups``, ``schedule`` and ``auto_scale_lr``."""
        wrapper = self.top.section("optim_wrapper")
        if wrapper is None:
            self.top.has_no_effect("there is no optimizer", "param_scheduler", "auto_scale_lr")
            return {}
        built, groups, settings = optimizer(wrapper)
        train |= settings
        native: Native = {"optimizer": built, "param_groups": groups}
        native["schedule"] = schedule(self.top.sections("param_scheduler"), train)
        scaling = self.top.section("auto_scale_lr")
        if scaling is not None and (size := scaling.require("base_batch_size")):
            native["auto_scale_lr"] = {
                "enable": scaling.take("enable", False),
                "base_batch_size": size,
            }
        return native

    def _run(self, train: Native) -> Native:
        """``load_from``, ``resume``, ``seed`` and the like."""
        native: Native = self.top.copy("load_from", "resume", "custom_imports", "work_dir")
        native = {name: value for name, value in native.items() if value}
        randomness = self.top.section("randomness")
        if randomness is not None:
            randomness.has_no_effect(
                "processes share one seed and draw different numbers", "diff_rank_seed"
            )
            if (seed := randomness.take("seed")) is not None:
                native["seed"] = seed
            if randomness.take("deterministic", False):
                train["deterministic"] = True
        return native


def _is_used(cfg: Mapping[str, Any], name: str) -> bool:
    """Whether a variable's value stands elsewhere in the config too."""

    def stands_in(value: Any) -> bool:
        if value == cfg[name]:
            return True
        items = value.values() if isinstance(value, Mapping) else value
        return isinstance(value, (Mapping, list, tuple)) and any(map(stands_in, items))

    return any(stands_in(value) for key, value in cfg.items() if key != name)


def _plain(value: Any) -> Any:
    """Dicts and lists of their plain kinds, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
