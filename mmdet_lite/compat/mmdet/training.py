"""Loops, optimizers, schedules and hooks."""

from __future__ import annotations

import re

from mmdet_lite.compat.mmdet.read import Native, Section

_BUILT_IN = "always done"


def loop(s: Section) -> Native:
    """``train_cfg``."""
    s.has_no_effect("by max_epochs or max_iters", "by_epoch")
    s.expect("val_begin", 1)
    s.expect("dynamic_intervals", None)
    table = {
        "EpochBasedTrainLoop": lambda s: {"max_epochs": s.require("max_epochs")},
        "IterBasedTrainLoop": lambda s: {"max_iters": s.require("max_iters")},
    }
    if not s.type:
        s = Section({**s.content, "type": _guess_loop(s)}, s.path, s.notes)
        s.has_no_effect("by max_epochs or max_iters", "by_epoch")
        s.expect("val_begin", 1)
    native = s.dispatch("training loop", table) or {}
    return native | {"val_interval": s.take("val_interval", 1)}


def _guess_loop(s: Section) -> str:
    known = {"max_epochs": "EpochBasedTrainLoop", "max_iters": "IterBasedTrainLoop"}
    return next((loop for key, loop in known.items() if key in s), "")


def optimizer(s: Section) -> tuple[Native | None, Native, Native]:
    """``optim_wrapper``: the optimizer, ``param_groups`` and what belongs into ``train``."""
    train: Native = {}
    s.expect("constructor", "DefaultOptimWrapperConstructor")
    if s.type == "AmpOptimWrapper":
        s.has_no_effect("the scale is found by itself", "loss_scale", "use_fsdp")
        dtype = s.take("dtype", "float16")
        train["precision"] = {"float16": "fp16", "bfloat16": "bf16", None: "fp16"}.get(dtype, dtype)
    elif s.type not in ("OptimWrapper", ""):
        s.problem("type", f"is {s.type!r}; 'OptimWrapper' and 'AmpOptimWrapper' are supported")
    if (count := s.take("accumulative_counts", 1)) != 1:
        train["accumulate"] = count
    if (clip := s.section("clip_grad")) is not None:
        clip.expect("norm_type", 2, 2.0)
        clip.expect("type", "norm")
        clip.has_no_effect("a gradient that is not finite ends the step", "error_if_nonfinite")
        train["clip_grad_norm"] = clip.require("max_norm")
    own = s.section_or_empty("optimizer")
    native = dict(own.content)
    if "type" in native:
        native["type"] = own.type
    if own.type == "ZeroRedundancyOptimizer":
        native["type"] = native.pop("optimizer_type", "")
        train["shard_optimizer"] = True
    own.numbers(*({"lr", "momentum", "weight_decay"} & set(own)))
    for key in own:
        own.take(key)
    return native, _param_groups(s.section("paramwise_cfg"), native), train


def _param_groups(s: Section | None, optimizer: Native) -> Native:
    if s is None:
        return {}
    s.has_no_effect("a parameter is never in two groups", "bypass_duplicate")
    for key in ("dwconv_decay_mult", "flat_decay_mult", "dcn_offset_lr_mult"):
        s.expect(key, None, 1, 1.0)
    decay = optimizer.get("weight_decay", 0.0)
    native: Native = {}
    for ours, theirs in (("norm_decay", "norm_decay_mult"), ("bias_decay", "bias_decay_mult")):
        if (factor := s.take(theirs)) is not None:
            native[ours] = factor * decay
    if (factor := s.take("bias_lr_mult", 1.0)) not in (None, 1):
        native["bias_lr"] = factor
    keys = s.section_or_empty("custom_keys")
    for key in keys:
        custom = keys.section(key)
        pattern = _pattern(key, list(keys))
        for ours, theirs in (("lr_multipliers", "lr_mult"), ("decay_multipliers", "decay_mult")):
            if custom is not None and (factor := custom.take(theirs, 1.0)) != 1:
                native.setdefault(ours, {})[pattern] = factor
    if list(keys) and native.keys() & {"norm_decay", "bias_decay", "bias_lr"}:
        native["exempt"] = [re.escape(key) for key in keys]  # as MMEngine has it
    return native


def _pattern(key: str, keys: list[str]) -> str:
    """A custom key as a regular expression; where several fit, the longest counts."""
    longer = [re.escape(other) for other in keys if len(other) > len(key)]
    return (f"^(?!.*(?:{'|'.join(longer)})).*" if longer else "") + re.escape(key)


def schedule(steps: list[Section], length: Native) -> Native | None:
    """``param_scheduler``.

    Args:
        steps: the schedulers, whose factors are multiplied.
        length: the translated loop.
    """
    warmup: Native = {}
    main: Native | None = None
    for s in steps:
        s.has_no_effect(_BUILT_IN, "verbose")
        if s.type == "LinearLR" and not warmup:
            warmup = _warmup(s)
        elif main is None:
            table = {"MultiStepLR": _multi_step, "CosineAnnealingLR": lambda s: _cosine(s, length)}
            main = s.dispatch("schedule after the warm-up", table) or {}
        else:
            s.problem("type", f"is {s.type!r}; one LinearLR and one other schedule are supported")
            s.has_no_effect("refused as a whole", *s)
    if main is None:
        main = {"type": "MultiStepSchedule", "milestones": []}
    begin, warm_end = main.pop("begin", None), warmup.get("warmup_iters", -1) + 1
    if begin is not None and begin != warm_end:
        known = f"a cosine that begins where the warm-up ends (by_epoch=False, begin={warm_end})"
        steps[-1].problem("begin", f"is {begin}, and only {known} is supported")
    return main | warmup


def _warmup(s: Section) -> Native:
    s.expect("by_epoch", False)
    s.expect("begin", 0)
    s.expect("end_factor", 1.0, 1)
    s.has_no_effect("it is by iterations", "convert_to_iter_based")
    end = s.require("end")
    # MMEngine's warm-up reaches the full rate one iteration earlier than its `end`.
    return {"warmup_iters": max((end or 1) - 1, 0), "warmup_factor": s.take("start_factor", 1 / 3)}


def _multi_step(s: Section) -> Native:
    s.expect("begin", 0)
    s.has_no_effect("milestones fall between two epochs", "convert_to_iter_based")
    milestones, end = list(s.require("milestones") or ()), s.take("end")
    if end is not None:  # from there on MMEngine leaves the rate as it is
        milestones = [milestone for milestone in milestones if milestone < end]
    native: Native = {"type": "MultiStepSchedule", "milestones": milestones}
    native["gamma"] = s.take("gamma", 0.1)
    if not s.take("by_epoch", True):
        native["unit"] = "iter"
    return native


def _cosine(s: Section, length: Native) -> Native:
    """With ``begin`` in iterations, which the caller compares with the end of the warm-up."""
    by_epoch, begin = s.take("by_epoch", True), s.take("begin", 0)
    if not s.take("convert_to_iter_based", False) and by_epoch:
        s.problem("by_epoch", "is True, and a cosine that changes once an epoch is not supported")
    if by_epoch and begin:
        s.problem("begin", f"is epoch {begin}, and only a cosine after the warm-up is supported")
        begin = None
    total = length.get("max_epochs" if by_epoch else "max_iters")
    steps = s.take("T_max")
    ends = {"T_max": steps and (begin or 0) + steps, "end": s.take("end")}
    for key, given in ends.items() if begin is not None else ():
        if None not in (given, total) and given != total:
            s.problem(key, f"ends at {given}, and only a cosine to the end, {total}, is supported")
    s.expect("eta_min", 0, 0.0, None)
    native: Native = {"type": "CosineSchedule", "begin": begin}
    if (ratio := s.take("eta_min_ratio")) is not None:
        native["final_factor"] = ratio
    return native


def default_hooks(s: Section, by_epoch: bool | None) -> Native:
    """``default_hooks``; gives what belongs into ``train``.

    Args:
        s: the hooks by name.
        by_epoch: whether the run is counted in epochs; None: there is no training.
    """
    train: Native = {}
    for key in s:
        hook = s.section(key)
        if hook is not None:
            table = {
                "CheckpointHook": lambda h: _checkpoints(h, by_epoch),
                "LoggerHook": _logger,
                "IterTimerHook": lambda h: h.has_no_effect(_BUILT_IN, *h),
                "ParamSchedulerHook": lambda h: h.has_no_effect(_BUILT_IN, *h),
                "DistSamplerSeedHook": lambda h: h.has_no_effect(_BUILT_IN, *h),
                "RuntimeInfoHook": lambda h: h.has_no_effect(_BUILT_IN, *h),
                "SyncBuffersHook": lambda h: h.has_no_effect(_BUILT_IN, *h),
                "DetVisualizationHook": _visualization,
            }
            train |= hook.dispatch("hook", table) or {}
    return train


def _checkpoints(s: Section, by_epoch: bool | None) -> Native:
    saved = ("save_last", "save_optimizer", "save_param_scheduler")
    s.is_otherwise("always saved", True, keys=saved)
    s.has_no_effect(
        "checkpoints stand in the work dir", "out_dir", "filename_tmpl", "file_client_args"
    )
    s.has_no_effect(_BUILT_IN, "backend_args", "published_keys", "priority")
    s.expect("save_begin", 0)
    if s.take("by_epoch", True) != by_epoch and by_epoch is not None:
        s.problem(
            "by_epoch", "differs from the training loop's unit; checkpoints are counted like it"
        )
    native: Native = {"checkpoint_interval": s.take("interval", -1)}
    if native["checkpoint_interval"] in (-1, None):
        native.pop("checkpoint_interval")
    kept = s.take("max_keep_ckpts", -1)
    native["keep_last"] = None if kept == -1 else kept
    best = s.take("save_best")
    best = best[0] if isinstance(best, (list, tuple)) and best else best
    if best and best != "auto":
        native["best_metric"] = metric_name(best)
    s.expect("rule", None, "greater", ["greater"])
    s.has_no_effect("it follows from the metric", "greater_keys", "less_keys")
    return native


def metric_name(name: str) -> str:
    """A metric by its name here, where prefixes stand for other things than in MMDetection."""
    if found := re.fullmatch(r"lvis/(bbox|segm)_AP(50|75|[smlrcf])?", name):
        return f"{found[1]}_mAP" + (f"_{found[2]}" if found[2] else "")
    if found := re.fullmatch(r"pascal_voc/(?:mAP|AP(\d+))", name):
        return "voc_mAP" + (f"_{found[1]}" if found[1] else "")
    return name.removeprefix("coco/")


def _logger(s: Section) -> Native:
    s.has_no_effect("logs are this package's", *(set(s) - {"type", "interval"}))
    return {"log_interval": s.take("interval", 10)}


def _visualization(s: Section) -> Native:
    if s.take("draw", False):
        s.problem(
            "draw", "is True, but nothing is drawn while training; use tools/test.py --show-dir"
        )
    s.has_no_effect("nothing is drawn", *(set(s) - {"type", "draw"}))
    return {}


def custom_hooks(hooks: list[Section]) -> tuple[list[Native], Native]:
    """``custom_hooks``: native hooks, and what belongs into ``train``."""
    native: list[Native] = []
    train: Native = {}

    def ema(s: Section) -> None:
        train["ema"] = _ema(s)

    def early_stopping(s: Section) -> None:
        s.expect("rule", None, "greater")
        s.has_no_effect(
            "a metric that is not finite never counts as better", "strict", "check_finite"
        )
        s.expect("stopping_threshold", None)
        metric = metric_name(s.require("monitor") or "")
        hook = {"type": "EarlyStopping", "metric": metric, "patience": s.take("patience", 5)}
        if delta := s.take("min_delta", 0.1):
            hook["min_delta"] = delta
        native.append(hook)

    table = {
        "EMAHook": ema,
        "EarlyStoppingHook": early_stopping,
        "NumClassCheckHook": lambda s: s.has_no_effect(_BUILT_IN, *s),
        "CheckInvalidLossHook": lambda s: s.has_no_effect(_BUILT_IN, *s),
        "MemoryProfilerHook": lambda s: s.has_no_effect("memory is in the log", *s),
        "SyncNormHook": lambda s: s.has_no_effect(_BUILT_IN, *s),
    }
    for hook in hooks:
        hook.has_no_effect("hooks run in their order", "priority")
        own = hook.dispatch("hook", table)
        if own is not None:
            native.append(own)
    return native, train


def _ema(s: Section) -> Native:
    s.has_no_effect("resuming is exact", "strict_load")
    averaged = "the statistics of batch norm are averaged too"
    s.is_otherwise(averaged, True, keys=["update_buffers"])
    s.expect("begin_iter", 0)
    s.expect("begin_epoch", 0)
    s.expect("interval", 1)
    kind = s.take("ema_type", "ExponentialMovingAverage").removeprefix("mmdet.")
    decay = 1 - s.take("momentum", 0.0002)
    if kind == "ExpMomentumEMA":
        return {"decay": decay, "ramp_up": s.take("gamma", 2000)}
    if kind != "ExponentialMovingAverage":
        s.problem(
            "ema_type", f"is {kind!r}; 'ExponentialMovingAverage' and 'ExpMomentumEMA' are known"
        )
    return {"decay": decay, "ramp_up": 0}
