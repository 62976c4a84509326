"""The log of a run: readable lines, JSON lines, and whoever else shows it."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdet_lite.engine.distributed import is_main, rank
from mmdet_lite.engine.status_line import Status, StatusLine, is_terminal
from mmdet_lite.engine.writers.all_writers import AllWriters

logger = logging.getLogger("mmdet_lite")

_MAIN_METRIC = re.compile(r"_mAP(_50|_75)?$")  # the line shows these; log.jsonl has all
_NOT_PLOTTED = ("mode", "iter", "epoch")
_NOT_LOSSES = ("mode", "iter", "epoch", "lr", "grad_norm", "time", "data_time_share", "memory_mb")


class RunLog:
    """Writes ``train.log`` and ``log.jsonl`` into a folder, and tells the run's writers.

    It also receives everything that goes to Python's logger 'mmdet_lite', until :meth:`close`.
    Only the main process writes; the others show errors on the console. A resumed run appends;
    where iterations repeat in ``log.jsonl``, the later line counts. On a terminal the last line
    says how far the run is.

    Args:
        work_dir: the run's folder; :meth:`open` makes it if need be.

    Attributes:
        writers: where else the run is shown; they are told once they have been opened.
    """

    def __init__(self, work_dir: str | Path):
        self.work_dir = Path(work_dir)
        self._handlers: list[logging.Handler] = []
        self._json_file = None
        self.writers = AllWriters()
        self._status_line: StatusLine | None = None
        self._early = _Memory()
        if not is_main():
            errors = logging.StreamHandler(sys.stderr)
            errors.setLevel(logging.ERROR)  # the main process has the same warnings to tell
            self._add_handler(errors, f"%H:%M:%S  rank {rank()}")
            return
        if is_terminal(sys.stdout):
            self._status_line = StatusLine()
            self._status_line.start()
        self._add_handler(logging.StreamHandler(sys.stdout), "%H:%M:%S")
        self._add_handler(self._early, "%H:%M:%S")
        logger.setLevel(logging.INFO)

    def open(self) -> RunLog:
        """Open the files, and write down what has been logged before.

        Until then nothing is written, so that a run that cannot start leaves no trace.
        """
        if not is_main():
            return self
        self.work_dir.mkdir(parents=True, exist_ok=True)
        log_file = logging.FileHandler(self.work_dir / "train.log", encoding="utf-8")
        self._add_handler(log_file, "%Y-%m-%d %H:%M:%S")
        for record in self._early.records:
            log_file.handle(record)
        logger.removeHandler(self._early)
        self._json_file = (self.work_dir / "log.jsonl").open("a", encoding="utf-8")
        return self

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.close(failed=kind is not None)

    @property
    def has_status_line(self) -> bool:
        """Whether :meth:`status` shows anything."""
        return self._status_line is not None

    def status(self, status: Status) -> None:
        """Say on a terminal how far the run is."""
        if self._status_line is not None:
            self._status_line.show(status)

    def train(self, record: dict[str, Any], position: str, eta_seconds: float) -> None:
        """Log one interval of training.

        Args:
            record: mode, iter, epoch, lr, loss and the losses it is the sum of, grad_norm, time
                (seconds per iteration), data_time_share (0..1), memory_mb, and what else the
                model gave.
            position: where the run is, for people: 'epoch 3/12  iter 150/720'.
            eta_seconds: time to the end of training.
        """
        logger.info(format_train_line(record, position, eta_seconds))
        self._record(record)

    def val(self, record: dict[str, Any]) -> None:
        """Log the metrics of one validation; ``record`` has mode, iter, epoch and the metrics."""
        values = {k: v for k, v in record.items() if k not in _NOT_PLOTTED}
        main = {k: v for k, v in values.items() if _MAIN_METRIC.search(k)} or values
        metrics = "  ".join(f"{k} {v:.4f}" for k, v in main.items())
        logger.info(f"validation at epoch {record['epoch']}, iter {record['iter']}:  {metrics}")
        self._record(record)

    def pictures(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        """Show pictures of a validation.

        Args:
            pictures: (H, W, 3) uint8 RGB, by name.
            iteration: of the validation.
        """
        self.writers.images({f"val/{name}": one for name, one in pictures.items()}, iteration)

    def close(self, failed: bool = False) -> None:
        """Close files and writers, and let go of the logger and the terminal.

        Args:
            failed: whether an error or a signal ended the run.
        """
        if self._status_line is not None:
            self._status_line.stop()
        self.writers.close(failed)
        if self._json_file is not None:
            self._close_file(self._json_file)
        for handler in reversed(self._handlers):  # the console's last: it tells what goes wrong
            logger.removeHandler(handler)
            self._close_file(handler)
        self._handlers, self._json_file = [], None

    def _close_file(self, file: Any) -> None:
        """A full disk must not hide the error that ended the run, which it may have caused too."""
        try:
            file.close()
        except OSError as error:
            logger.error("the log in %s is incomplete: %s", self.work_dir, error)

    def _write_line(self, line: str) -> None:
        """A full disk does not end the run; what is not written is in the console's output."""
        try:
            self._json_file.write(line)
            self._json_file.flush()
        except OSError as error:
            logger.error("cannot write to %s: %s; lost: %s", self._json_file.name, error, line)

    def _add_handler(self, handler: logging.Handler, date_format: str) -> None:
        handler.setFormatter(_Formatter("%(asctime)s  %(prefix)s%(message)s", date_format))
        logger.addHandler(handler)
        self._handlers.append(handler)

    def _record(self, record: dict[str, Any]) -> None:
        if self._json_file is not None:
            self._write_line(json.dumps(_finite_or_null(record)) + "\n")
        if self.writers:
            plotted = {k: v for k, v in record.items() if k not in _NOT_PLOTTED}
            named = {f"{record['mode']}/{name}": value for name, value in plotted.items()}
            self.writers.scalars(named, record["iter"])


def format_train_line(record: dict[str, Any], position: str, eta_seconds: float) -> str:
    """One interval of training, readable at a glance; arguments as of :meth:`RunLog.train`."""
    losses = [
        f"{k.replace('loss_', '')} {v:.3f}"
        for k, v in record.items()
        if "loss" in k and k != "loss"
    ]
    others = [f"{k} {v:.4g}" for k, v in record.items() if "loss" not in k and k not in _NOT_LOSSES]
    parts = [
        position,
        f"eta {timedelta(seconds=round(eta_seconds))}",
        f"lr {record['lr']:.1e}",
        f"loss {record['loss']:.3f}" + (f" ({'  '.join(losses)})" if len(losses) > 1 else ""),
        *others,
        *([f"grad {record['grad_norm']:.2f}"] if "grad_norm" in record else []),
        f"{record['time']:.3f} s/it (data {record['data_time_share']:.0%})",
        f"mem {record['memory_mb']:.0f} MB",
    ]
    return "  ".join(parts)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far in MiB: what torch allocated on the GPU, else the process's peak RSS."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return math.nan
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class _Memory(logging.Handler):
    """Keeps what is logged before there is a file for it."""

    def __init__(self):
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Formatter(logging.Formatter):
    """Puts the level in front of warnings and errors only."""

    def format(self, record: logging.LogRecord) -> str:
        record.prefix = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        return super().format(record)


def _finite_or_null(record: dict[str, Any]) -> dict[str, Any]:
    """JSON knows neither infinity nor NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
