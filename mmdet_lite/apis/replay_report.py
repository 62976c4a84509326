"""A replay in words: what was in the batch, what came out of it, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet_lite.apis.batch_view import odd_inputs
from mmdet_lite.apis.replay import Replay
from mmdet_lite.engine.finite_trace import largest

_LISTED = 10
_PLACE = ("iteration", "rank", "seed", "losses", "reason")
_CIRCUMSTANCES = ("precision", "device", "torch", "threads")


def report(replay: Replay) -> str:
    """Everything that a replay tells, as text for people."""
    parts = [
        _heading(replay),
        _images(replay),
        _section("Odd in the batch", odd_inputs(replay.batch) or ["nothing"]),
        _values(replay),
        _section(f"Weights not finite: {len(replay.bad_weights)}", _first(replay.bad_weights)),
        _section(
            f"Gradients not finite: {len(replay.bad_gradients)} of {replay.num_gradients}",
            _first(replay.bad_gradients),
        ),
        _section("First number that is not finite", _origin(replay) or ["none"]),
        _verdict(replay),
    ]
    return "\n\n".join(parts)


def _heading(replay: Replay) -> str:
    info = replay.info
    lines = [
        f"Batch    {replay.file}",
        f"         iteration {info['iteration']} (counted from 0), rank {info['rank']}, "
        f"seed {info['seed']}: {info['reason']}",
        f"Weights  {replay.weights}",
        f"Run      {_circumstances(info)}",
        f"Replay   {_circumstances(replay.environment | {'precision': replay.precision})}",
    ]
    further = {k: v for k, v in info.items() if k not in _PLACE + _CIRCUMSTANCES}
    return "\n".join(lines + [f"{key}: {value}" for key, value in further.items()])


def _circumstances(info: dict[str, Any]) -> str:
    return "{precision}, {device}, torch {torch}, {threads} CPU threads".format(**info)


def _images(replay: Replay) -> str:
    batch = replay.batch
    rows = [["slot", "image id", "height x width", "objects", "ignored", "file"]]
    objects, ignored = batch.gt.valid.sum(dim=1), batch.gt.ignore_valid.sum(dim=1)
    for meta, num_objects, num_ignored in zip(
        batch.metas, objects.tolist(), ignored.tolist(), strict=True
    ):
        size = "x".join(map(str, meta.shape))
        row = (meta.slot, meta.image_id, size, num_objects, num_ignored, meta.file)
        rows.append(list(map(str, row)))
    shape = " x ".join(map(str, batch.images.shape))
    return "\n".join([f"Images, padded to {shape}", *_table(rows)])


def _values(replay: Replay) -> str:
    dumped = replay.info["losses"]
    rows = [["value", "replay", "run", ""]]
    for name in dict.fromkeys([*replay.values, *dumped]):
        same = "identical" if replay.is_identical(name) else "differs"
        both = name in replay.values and name in dumped
        now, then = _number(replay.values.get(name)), _number(dumped.get(name))
        rows.append([name, now, then, same if both else ""])
    return "\n".join(["Losses", *_table(rows)])


def _origin(replay: Replay) -> list[str]:
    trace = replay.trace
    lines = []
    if trace.made_by is not None:
        lines.append(
            f"forward: the output of {_module(replay, trace.made_by)}; its inputs are finite, "
            f"up to {trace.largest_input:.2g}{_weights(replay, trace.made_by)}"
        )
    if trace.received_by == "":
        lines.append("forward: the batch itself is not finite")
    elif trace.received_by is not None:
        lines.append(
            f"forward: it is seen first in the input of {_module(replay, trace.received_by)}"
        )
    step = trace.backward_step
    if step is not None and replay.not_finite == ["grad_norm"]:  # else it follows from the losses
        lines.append(
            f"backward: {step.operation} in {_module(replay, step.module)}\n    {step.line}"
        )
    return lines


def _verdict(replay: Replay) -> str:
    if replay.not_finite:
        lines = [f"REPRODUCED: {', '.join(replay.not_finite)} not finite."]
        if replay.bad_weights:
            lines.append(
                "The weights were not finite before this step, so an earlier step or the "
                "initialisation is to blame, not this batch."
            )
        return "\n".join(lines)
    return "\n".join(["NOT REPRODUCED: all losses and gradients are finite.", _suggestion(replay)])


def _suggestion(replay: Replay) -> str:
    """What it means that nothing is wrong this time."""
    then = replay.info["precision"]
    if replay.precision != then:
        return (
            f"The run computed in {then}, this replay in {replay.precision}: if {then} reproduces "
            "it, the numbers leave its range. Train in a wider precision."
        )
    losses = [name for name in replay.info["losses"] if name != "grad_norm"]
    if all(map(replay.is_identical, losses)):
        return (
            "The losses are those of the run, so what was not finite is in a gradient that came "
            "from elsewhere: another process (replay its batch_rank_<r>.pth, if there is one), or "
            "an earlier batch of the same update (train.accumulate)."
        )
    return (
        "The losses differ from those of the run. Are config, weights, device and versions the "
        "same? In a run of several processes, normalizer='global' and train.sync_bn depend on "
        "the batches of the others too."
    )


def _module(replay: Replay, name: str) -> str:
    kind = type(replay.trace.model.get_submodule(name)).__name__
    return f"{name} ({kind})" if name else f"the {kind} itself, outside of its modules"


def _weights(replay: Replay, module: str) -> str:
    parameters = list(replay.trace.model.get_submodule(module).parameters())
    return f", its weights up to {largest(parameters):.2g}" if parameters else ""


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _first(names: Sequence[str]) -> list[str]:
    if len(names) <= _LISTED:
        return list(names)
    return [*names[:_LISTED], f"and {len(names) - _LISTED} more"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.9g}"  # as many digits as tell float32 apart


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return [f"  {line.rstrip()}" for line in lines]
