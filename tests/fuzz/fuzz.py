"""Fuzzing of what reads annotation files: ``make fuzz``, or ``python tests/fuzz/fuzz.py --help``.

Files are read in another process, which may crash, hang or run out of memory. Each such file, and
each that leads to anything but a report of what is wrong with it, is kept with what came of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_WORKER = Path(__file__).with_name("fuzz_worker.py")
_START = 60.0  # seconds until the first file, at most
_HANG = 20.0  # seconds for one file
_STEP = 1000  # seeds of a worker that finds nothing; it uses fewer


@dataclass
class Report:
    """What came of it.

    Attributes:
        outcomes: how many files were read, and how often one was refused and used.
        failures: by their kind, the file of the first of each.
    """

    outcomes: Counter = field(default_factory=Counter)
    failures: dict[str, Path] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        lines = [f"{counts}; {len(self.failures)} kinds of failures"]
        lines += [f"{path}: {kind}" for kind, path in self.failures.items()]
        return "\n".join(lines)


def fuzz(seconds: float, seed: int, out: Path) -> Report:
    """Try files for a time.

    Args:
        seconds: how long, without the start of the first process.
        seed: of the files.
        out: folder for the files that failed.
    """
    report, left = Report(), seconds
    with tempfile.TemporaryDirectory() as name:
        while left > 0:
            folder = Path(name)
            for file in ("input.json", "outcomes.json"):
                (folder / file).unlink(missing_ok=True)
            used, failure = _run_worker(folder, seed, left)
            _add_outcomes(report, folder / "outcomes.json")
            if failure and failure not in report.failures:
                report.failures[failure] = _keep(folder, out, failure, len(report.failures))
            left, seed = left - used, seed + _STEP
    return report


def _run_worker(folder: Path, seed: int, seconds: float) -> tuple[float, str | None]:
    """Seconds from the first file on, and what went wrong."""
    command = [sys.executable, str(_WORKER), str(folder), f"--seed={seed}", f"--seconds={seconds}"]
    with (folder / "stderr.txt").open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL)
        hung = _wait(process, folder / "input.json")
    first = folder / "images" / "one.png"
    used = max(1.0, time.time() - first.stat().st_mtime) if first.is_file() else seconds
    if hung:
        return used, f"no end after {_HANG:.0f} s"
    if process.returncode == 0:
        return used, None
    lines = (folder / "stderr.txt").read_text(errors="replace").strip().splitlines()
    if process.returncode < 0:
        return used, f"ended by signal {-process.returncode}"
    return used, _kind_of(lines)


def _wait(process: subprocess.Popen, path: Path) -> bool:
    """Wait for the end of the worker; True if it had to be killed over one file."""
    last, changed = None, time.monotonic()
    while True:
        try:
            process.wait(0.2)
            return False
        except subprocess.TimeoutExpired:
            now = path.stat().st_mtime_ns if path.is_file() else None
            if now != last:
                last, changed = now, time.monotonic()
            elif time.monotonic() - changed > (_HANG if last else _START):
                process.kill()
                process.wait()
                return True


def _kind_of(lines: list[str]) -> str:
    """The error of a traceback, and the last place in the package."""
    errors = [line for line in lines if line and line[0].isalpha() and ("Error" in line)]
    places = [line.strip() for line in lines if "mmdet_lite/" in line and "line " in line]
    what = (errors or lines or ["nothing on stderr"])[-1 if not errors else 0]
    return f"{what[:200]} ({places[-1] if places else 'in no file of the package'})"


def _add_outcomes(report: Report, path: Path) -> None:
    if path.is_file():
        report.outcomes.update(json.loads(path.read_text() or "{}"))


def _keep(folder: Path, out: Path, failure: str, number: int) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    kept = out / f"failure_{number}.json"
    source = folder / "input.json"
    kept.write_bytes(source.read_bytes() if source.is_file() else b"")
    stderr = (folder / "stderr.txt").read_text(errors="replace")
    kept.with_suffix(".txt").write_text(f"{failure}\n\n{stderr}")
    return kept


def main() -> int:
    """1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/fuzz"))
    args = parser.parse_args()
    print(f"seed {args.seed}, {args.seconds:.0f} s", flush=True)
    report = fuzz(args.seconds, args.seed, args.out)
    print(report)
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main())
