"""The log that MMDetection 3.x writes, ``vis_data/scalars.json``, as records of this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = dict[str, Any]

_OF_THE_RUN = ("step", "time", "data_time", "iter", "epoch")  # in a validation's line


def is_mmdet_record(line: Mapping[str, Any]) -> bool:
    """Whether a line of a log is one of MMDetection's."""
    return "mode" not in line and ("step" in line or "iter" in line)


def translate_records(lines: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Lines of one start of MMDetection's training, in their order.

    A validation's line tells its epoch but not, as a rule, its iteration: it is given that of the
    line of training before it, which may lie a few iterations back.

    Args:
        lines: JSON objects.

    Returns:
        Records as :func:`mmdet_lite.visualization.curves.read_log` gives them.
    """
    records: list[Record] = []
    iteration, epoch = 0, None  # of the last line of training
    for line in lines:
        if "loss" in line or "lr" in line:
            iteration, epoch = line.get("iter", line.get("step", 0)), line.get("epoch")
            records.append(_training(line, iteration, epoch))
        else:
            step = line.get("step", 0)
            at = step if epoch is None and step > iteration else iteration
            records.append(_validation(line, at, epoch))
    return records


def _training(line: Mapping[str, Any], iteration: int, epoch: int | None) -> Record:
    record: Record = {"mode": "train", "iter": iteration, "epoch": epoch or 1}
    record |= {k: v for k, v in line.items() if k not in ("iter", "epoch", "step", "base_lr")}
    waiting = record.pop("data_time", None)
    if waiting is not None and record.get("time"):
        record["data_time_share"] = waiting / record["time"]
    if "memory" in record:
        record["memory_mb"] = record.pop("memory")
    return record


def _validation(line: Mapping[str, Any], iteration: int, epoch: int | None) -> Record:
    """Metrics without the evaluator's prefix: 'coco/bbox_mAP' is 'bbox_mAP'."""
    metrics = {k.rpartition("/")[2]: v for k, v in line.items() if k not in _OF_THE_RUN}
    return {"mode": "val", "iter": iteration, "epoch": epoch or 1, **metrics}
