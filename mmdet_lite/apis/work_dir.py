"""The folder of a run: what is in it from earlier, and where a resumed run begins."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from mmdet_lite.apis.build import read_path
from mmdet_lite.engine.checkpoint import (
    CheckpointError,
    find_resume_checkpoint,
    load_checkpoint,
    remove_unfinished,
)
from mmdet_lite.engine.distributed import from_main, gather_to_main, is_main, max_over_processes
from mmdet_lite.engine.launch import launch_name, restarted_launch
from mmdet_lite.engine.log import RunLog

logger = logging.getLogger("mmdet_lite")

_LAUNCH_FILE = ".launch"  # what started the run last

# What a run leaves in its work dir.
_RUN_FILES = (
    "epoch_*.pth*",
    "iter_*.pth*",
    "best_*.pth*",
    "log.jsonl",
    "train.log",
    "config.py",
    "curves.png",
    "curves.html",
    "metrics.json",
    "pictures",
    "tensorboard",
    "wandb",
    "writers.json",
    "vis",
    "nonfinite_iter_*",
)


def continues_launch(work_dir: Path) -> bool:
    """Whether torchrun or SLURM has restarted the launch that began the run in this folder."""
    mark = work_dir / _LAUNCH_FILE
    # each node's torchrun counts restarts by itself, and the main process may move to another node
    is_restart = max_over_processes([restarted_launch()])[0] > 0
    if is_main() and not is_restart and mark.is_file():
        mark.unlink()  # of an earlier launch, which may have had the same name
    names = gather_to_main(launch_name())
    return from_main(
        is_main()
        and is_restart
        and mark.is_file()
        and mark.read_text(encoding="utf-8").strip() in names
    )


def open_files(log: RunLog, config: str, resume: str | Path | bool) -> list[str]:
    """Put aside what does not belong to the run, and begin to write.

    Args:
        log: of the run, not yet open.
        config: the resolved config, as text.
        resume: False for a new run, True for one that continues from the newest checkpoint, or
            the checkpoint that the user named.

    Returns:
        Names of the checkpoints that were put aside because they are later than the named one.

    Raises:
        OSError: the folder cannot be written to.
    """
    work_dir, later = log.work_dir, []
    try:
        moved = None if resume else set_aside_earlier_run(work_dir)
        log.open()
        remove_unfinished(work_dir)
        if resume not in (True, False) and Path(resume).parent.resolve() == work_dir.resolve():
            later = set_aside_later_checkpoints(work_dir, Path(resume))
        (work_dir / _LAUNCH_FILE).write_text(launch_name() + "\n", encoding="utf-8")
        (work_dir / "config.py").write_text(config, encoding="utf-8")
    except OSError as error:
        raise type(error)(
            f"cannot write to the work dir {str(work_dir)!r} ({error.strerror}); choose "
            "another with --work-dir"
        ) from error
    if moved:
        logger.warning("an earlier run in %s was moved to %s", work_dir, moved)
    return later


def find_start(resume: str | Path | bool, work_dir: Path) -> Path | None:
    """The checkpoint to continue from; None for a new run."""
    if not resume:
        return None
    if resume is not True:
        return read_path(resume, "--resume")
    found = find_resume_checkpoint(work_dir)
    if found is None:
        earlier = sorted(work_dir.glob("earlier_*/*.pth"))
        hint = f" (an earlier run was set aside: {earlier[-1].parent})" if earlier else ""
        logger.warning("--resume: no good checkpoint in %s%s, starting anew", work_dir, hint)
    return found


def set_aside_earlier_run(work_dir: Path) -> Path | None:
    """Move what an earlier run wrote into a subfolder, so that two runs never mix.

    Args:
        work_dir: the folder of a new run.

    Returns:
        The subfolder, or None if there was no earlier run.
    """
    files = [path for pattern in _RUN_FILES for path in sorted(work_dir.glob(pattern))]
    return _set_aside(files, work_dir) if files else None


def set_aside_later_checkpoints(work_dir: Path, start: Path) -> list[str]:
    """Move what is further in training than ``start`` into a subfolder, with a warning.

    Otherwise the next ``--resume`` would take up what this run was told to go back from.

    Args:
        work_dir: the folder of the run.
        start: a checkpoint in it.

    Returns:
        Names of the checkpoints that were moved.
    """
    iteration = load_checkpoint(start)["iteration"]
    later = [path for path in sorted(work_dir.glob("*.pth")) if _iteration(path) > iteration]
    if not later:
        return []
    folder = _set_aside([f for p in later for f in work_dir.glob(f"{p.name}*")], work_dir)
    names = [path.name for path in later]
    logger.warning(
        "going back to %s: later checkpoints were moved to %s: %s",
        *(start.name, folder, ", ".join(names)),
    )
    return names


def _iteration(path: Path) -> int:
    """Where a checkpoint is in its run; -1 if it cannot be told."""
    try:
        return load_checkpoint(path).get("iteration", -1)
    except CheckpointError:
        return -1  # which no run will resume from


def _set_aside(files: Iterable[Path], work_dir: Path) -> Path:
    numbers = [int(p.name.removeprefix("earlier_")) for p in work_dir.glob("earlier_[0-9]*")]
    folder = work_dir / f"earlier_{max(numbers, default=0) + 1}"
    folder.mkdir()
    for path in files:
        path.rename(folder / path.name)
    return folder
