"""Runs side by side, from their logs: figures, what their configs differ in, curves."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_lite.apis.run_logs import Run
from mmdet_lite.evaluation.tables import align
from mmdet_lite.visualization.run_curves import plot_runs

_LONGEST_VALUE = 40  # characters of a config's value in the table
_ABSENT = "-"
_OF_THE_RUN = ("work_dir", "resume")  # config keys that say nothing about what was trained
_NOT_MEASURED = ("mode", "iter", "epoch")


def analyze_logs(
    runs: Sequence[Run], keys: Sequence[str] | None, out: str | Path | None, as_json: bool
) -> str:
    """Compare runs.

    Args:
        runs: from :func:`mmdet_lite.apis.run_logs.read_runs`.
        keys: figures to look at; None: all losses, and each mAP.
        out: a picture of these figures' curves, one run over another.
        as_json: give the comparison as JSON, not as a table.

    Returns:
        What to print.

    Raises:
        ValueError: no run has a key.
    """
    if keys is not None:
        _check_keys(runs, keys)
    summaries = [summarize(run, keys) for run in runs]
    differences = config_differences(runs)
    if out is not None:
        drawn = keys or ["loss", *dict.fromkeys(k for s in summaries for k in s["metrics"])]
        plot_runs({run.name: run.records for run in runs}, drawn, out)
    if as_json:
        named = [{"run": run.name, **s} for run, s in zip(runs, summaries, strict=True)]
        return json.dumps(_finite({"runs": named, "config": differences}), indent=2)
    return _text(runs, summaries, differences)


def summarize(run: Run, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """What came of a run.

    Args:
        run: the run.
        keys: losses and metrics to look at; None: all losses, and each mAP.

    Returns:
        'iterations'; 'metrics': by key 'best', 'best_iter', 'last' and 'last_iter'; 'losses': of
        the last log line; 'seconds_per_iteration', 'data_time_share' (0..1) and 'training_seconds'
        of all iterations, without validations; 'memory_mb', the peak. What the log does not tell
        is None.
    """
    metrics = keys or _main_metrics(run)
    last = run.train[-1] if run.train else {}
    losses = [k for k in last if k not in _NOT_MEASURED and (k in keys if keys else "loss" in k)]
    steps = _steps(run)
    return {
        "iterations": run.records[-1]["iter"],
        "metrics": {key: found for key in metrics if (found := _metric(run, key))},
        "losses": {key: last[key] for key in losses},
        "seconds_per_iteration": _mean(run, "time", steps),
        "data_time_share": _mean(run, "data_time_share", steps * _column(run, "time")),
        "training_seconds": _sum(run, "time", steps),
        "memory_mb": _largest(run, "memory_mb"),
    }


def config_differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Config keys that differ: one value a run, None where the run's config lacks the key.

    Only configs of one form are compared; without at least two there is nothing to compare.
    """
    configs = [run.config for run in runs]
    if len(runs) < 2 or None in configs or len({run.is_foreign for run in runs}) > 1:
        return {}
    keys = dict.fromkeys(key for config in configs for key in config if key not in _OF_THE_RUN)
    values = {key: [config.get(key) for config in configs] for key in keys}
    return {key: each for key, each in values.items() if any(one != each[0] for one in each[1:])}


def _main_metrics(run: Run) -> list[str]:
    """Each mAP, or whatever the validations gave."""
    keys = list(dict.fromkeys(key for record in run.val for key in record))
    keys = [key for key in keys if key not in _NOT_MEASURED]
    return [key for key in keys if key.endswith("_mAP")] or keys


def _metric(run: Run, key: str) -> dict[str, Any] | None:
    """Best and last value of a validation's figure; -1 (no such objects) is none."""
    points = [(r[key], r["iter"]) for r in run.val if key in r and r[key] >= 0]
    if not points:
        return None
    best, best_iter = max(points, key=lambda point: point[0])
    return {
        **{"best": best, "best_iter": best_iter},
        **{"last": points[-1][0], "last_iter": points[-1][1]},
    }


def _steps(run: Run) -> np.ndarray:
    """How many iterations each line of training stands for."""
    at = np.array([record["iter"] for record in run.train], dtype=float)
    if len(at) < 2:
        return at
    gaps = np.diff(at)
    return np.append(min(at[0], gaps[0]), gaps)  # the log of a moved run may begin late


def _column(run: Run, key: str) -> np.ndarray:
    return np.array([record.get(key, math.nan) for record in run.train], dtype=float)


def _mean(run: Run, key: str, weights: np.ndarray) -> float | None:
    values = _column(run, key)
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else None


def _sum(run: Run, key: str, weights: np.ndarray) -> float | None:
    values = _column(run, key) * weights
    return float(np.nansum(values)) if np.isfinite(values).any() else None


def _largest(run: Run, key: str) -> float | None:
    values = _column(run, key)
    return float(np.nanmax(values)) if np.isfinite(values).any() else None


def _check_keys(runs: Sequence[Run], keys: Sequence[str]) -> None:
    known = list(dict.fromkeys(key for run in runs for record in run.records for key in record))
    known = [key for key in known if key not in _NOT_MEASURED]
    problems = []
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3)
            problems.append(
                f"{key!r}" + (f" (did you mean {' or '.join(map(repr, near))}?)" if near else "")
            )
    if problems:
        raise ValueError(f"--keys: no run has {', '.join(problems)}; they have {', '.join(known)}")


def _text(runs: Sequence[Run], summaries: Sequence[dict], differences: dict[str, list[Any]]) -> str:
    names = [run.name for run in runs]
    tables = [align([["", *names], *_figure_rows(summaries)])]
    if differences:
        rows = [[key, *map(_config_value, values)] for key, values in differences.items()]
        tables.append(align([["config", *names], *rows]))
    elif len(runs) > 1:
        tables.append(_why_no_differences(runs))
    return "\n\n".join(tables)


def _figure_rows(summaries: Sequence[dict]) -> list[list[str]]:
    def row(name: str, value: Callable[[dict], str | None]) -> list[str]:
        return [name, *(value(summary) or _ABSENT for summary in summaries)]

    def number(key: str, form: str) -> Callable[[dict], str | None]:
        return lambda s: None if s[key] is None else form.format(s[key])

    rows = [row("iterations", number("iterations", "{}"))]
    for key in dict.fromkeys(key for s in summaries for key in s["metrics"]):
        rows.append(row(f"{key}, best", lambda s, key=key: _at(s["metrics"].get(key), "best")))
        rows.append(row(f"{key}, last", lambda s, key=key: _at(s["metrics"].get(key), "last")))
    for key in dict.fromkeys(key for s in summaries for key in s["losses"]):
        rows.append(row(key, lambda s, key=key: _loss(s["losses"].get(key))))
    rows.append(row("s/it", number("seconds_per_iteration", "{:.3f}")))
    rows.append(row("waiting for data", number("data_time_share", "{:.0%}")))
    rows.append(row("memory, MB", number("memory_mb", "{:.0f}")))
    rows.append(row("training time", lambda s: _duration(s["training_seconds"])))
    return rows


def _at(metric: dict[str, Any] | None, which: str) -> str | None:
    return metric and f"{metric[which]:.4f} at {metric[f'{which}_iter']}"


def _loss(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else str(timedelta(seconds=round(seconds)))


def _config_value(value: Any) -> str:
    text = _ABSENT if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _why_no_differences(runs: Sequence[Run]) -> str:
    if missing := [run.name for run in runs if run.config is None]:
        return f"configs are not compared: there is none to be read of {', '.join(missing)}"
    if len({run.is_foreign for run in runs}) > 1:
        return "configs are not compared: some are MMDetection's, whose keys are others"
    return "the configs do not differ"


def _finite(value: Any) -> Any:
    """JSON knows neither infinity nor NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
