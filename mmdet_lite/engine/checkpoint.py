"""Checkpoint files: written so that a crash at any moment leaves a good one, read without trust.

Inside are tensors and plain values only, so that ``torch.load(weights_only=True)`` always suffices.
Beside ``epoch_3.pth`` lies ``epoch_3.pth.sha256``, which ``sha256sum -c`` understands.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from mmdet_lite.safetensors_file import SAFETENSORS, read_safetensors

logger = logging.getLogger(__name__)

_TEMPORARY_NAME = re.compile(r"\..+\.pth(\.sha256)?\.tmp")
_PERIODIC_NAME = re.compile(r"(epoch|iter)_(\d+)\.pth")
_PLAIN_TYPES = (type(None), bool, int, float, str)
_ZIP_MAGIC = b"PK\x03\x04"
_FOLDER_MARK = 0x10  # among a zip entry's attributes, as DOS has them
_CHUNK = 1 << 20


class CheckpointError(ValueError):
    """A file that is damaged, refused or not a checkpoint; the message says which, and why."""


def save_checkpoint(state: dict, path: str | Path) -> None:
    """Write a checkpoint and its checksum; what stood at ``path`` stays until this is complete.

    Args:
        state: tensors and plain values (None, bool, int, float, str) in dicts, lists and tuples.
        path: the file to write.

    Raises:
        TypeError: there is something else in ``state``; lists where.
        OSError: the file cannot be written.
    """
    write_checkpoint(snapshot(state), Path(path))


def snapshot(state: dict) -> dict:
    """A copy in host memory, which later changes of ``state`` do not reach.

    Raises:
        TypeError: there is something that :func:`save_checkpoint` does not take; lists where.
    """
    problems: list[str] = []
    plain = _as_plain(state, "", problems)
    if problems:
        raise TypeError(
            "a checkpoint holds only tensors, None, bool, int, float and str in dicts, lists and "
            "tuples, so that it can be loaded safely; convert these: " + "; ".join(problems)
        )
    return plain


def write_checkpoint(state: dict, path: Path) -> None:
    """Write what :func:`snapshot` returned; see :func:`save_checkpoint`.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file and its checksum; what stood at ``path`` stays until this is complete.

    Args:
        path: the file to write.
        write: called with a file that has ``write`` and ``flush``.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = _temporary(path)
    try:
        digest = _write_hashed(temporary, write)
        _replace(temporary, path, digest)
    except (OSError, RuntimeError) as error:  # torch's writer raises either when writing fails
        temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise OSError(
            getattr(error, "errno", None) or errno.EIO,
            f"cannot write a checkpoint ({reason}); older ones are intact",
            str(path),
        ) from error


def remove_unfinished(work_dir: Path) -> None:
    """Remove what a process that was killed while it wrote has left behind."""
    for path in work_dir.glob(".*.tmp"):
        if _TEMPORARY_NAME.fullmatch(path.name):
            path.unlink()


def link_checkpoint(source: Path, target: Path) -> None:
    """Give a finished checkpoint a second name, as a hard link or, where that fails, a copy."""
    temporary = _temporary(target)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # a file system without hard links
        _write_synced(temporary, source.read_bytes())
    _replace(temporary, target, _sidecar(source).read_text().split()[0])


def load_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict:
    """Read a checkpoint, of mmdet_lite or another framework, without running code from it.

    Args:
        path: the file, of torch.save or ``.safetensors``; its checksum file is used if it is there.
        map_location: device to put the tensors on.

    Returns:
        The dict inside; for ``.safetensors`` one of ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, holds code or unknown objects, or is no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"checkpoint {path} {what} (looked at {path.absolute()}); give the path of a "
            ".pth or .safetensors file"
        )
    _check_intact(path)
    if path.suffix == SAFETENSORS:
        return _load_safetensors(path, str(map_location))
    try:
        with warnings.catch_warnings():
            # of a pickle by another program, which the error says better
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(_not_a_checkpoint(path)) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; a checkpoint is a dict")
    return state


def _load_safetensors(path: Path, device: str) -> dict:
    try:
        return read_safetensors(path, device)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def find_resume_checkpoint(work_dir: str | Path) -> Path | None:
    """The good checkpoint that is furthest in training, among ``epoch_*.pth`` and ``iter_*.pth``.

    Damaged files are passed over with a warning.

    Returns:
        Its path, or None when there is none.
    """
    newest: dict[str, tuple[int, Path]] = {}
    paths = sorted(_periodic_checkpoints(Path(work_dir)), key=_number, reverse=True)
    for path in paths:
        unit = path.name.partition("_")[0]
        if unit in newest:
            continue
        try:
            newest[unit] = (load_checkpoint(path).get("iteration", -1), path)
        except CheckpointError as error:
            logger.warning("skipped a checkpoint when looking for the newest one: %s", error)
    return max(newest.values())[1] if newest else None


def keep_last(work_dir: str | Path, n: int) -> None:
    """Remove ``epoch_*.pth`` and ``iter_*.pth`` except the ``n >= 1`` last written ones."""
    paths = sorted(
        _periodic_checkpoints(Path(work_dir)), key=lambda p: (p.stat().st_mtime_ns, _number(p))
    )
    for path in paths[:-n]:
        path.unlink()
        _sidecar(path).unlink(missing_ok=True)


def _periodic_checkpoints(work_dir: Path) -> list[Path]:
    return [path for path in work_dir.glob("*.pth") if _PERIODIC_NAME.fullmatch(path.name)]


def _number(path: Path) -> int:
    return int(_PERIODIC_NAME.fullmatch(path.name)[2])


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _as_plain(value: Any, place: str, problems: list[str]) -> Any:
    """A copy in builtin containers; whatever cannot be stored is added to ``problems``."""
    if type(value) in (Tensor, nn.Parameter):
        return value.detach().to("cpu", copy=True)
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, dict):
        for key in value:
            if type(key) not in _PLAIN_TYPES:
                problems.append(f"{place or 'top level'} has the key {key!r} ({_type_name(key)})")
        return {k: _as_plain(v, f"{place}.{k}".lstrip("."), problems) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_as_plain(v, f"{place}[{i}]", problems) for i, v in enumerate(value))
    problems.append(f"{place} is a {_type_name(value)}")
    return None


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


class _HashingFile:
    """Passes on what is written, and computes its SHA-256 on the way."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _write_hashed(path: Path, write: Callable[[BinaryIO], object]) -> str:
    with path.open("wb") as file:
        hashing = _HashingFile(file)
        write(hashing)
        file.flush()
        os.fsync(file.fileno())
    return hashing.digest.hexdigest()


def _write_synced(path: Path, content: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(temporary: Path, path: Path, digest: str) -> None:
    """Put a complete file and its checksum in place.

    The old checksum goes first: a crash in between leaves a complete file without a checksum,
    which the zip's own CRCs still vouch for, and never a good file beside another one's checksum.
    """
    sidecar = _sidecar(path)
    _write_synced(_temporary(sidecar), f"{digest}  {path.name}\n".encode())
    sidecar.unlink(missing_ok=True)
    temporary.replace(path)
    _temporary(sidecar).replace(sidecar)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_intact(path: Path) -> None:
    """Compare with the checksum file; without one, with the checksums inside the zip archive."""
    if _sidecar(path).is_file():
        checksum = _sidecar(path).read_text(errors="replace")  # it may be damaged too
        expected, actual = checksum.split()[:1], _sha256(path)
        if [actual] != expected:
            raise CheckpointError(
                f"{path} is damaged: its SHA-256 is {actual}, {_sidecar(path).name} says "
                f"{expected[0] if expected else 'nothing'} ({path.stat().st_size} bytes on disk). "
                "Use an older checkpoint, or copy the file again"
            )
        return
    with path.open("rb") as file:
        if file.read(4) != _ZIP_MAGIC:
            return  # not a zip: an older format, or no checkpoint, which loading will tell
    if damage := _damage(path):
        raise CheckpointError(
            f"{path} is truncated or damaged ({damage}; {path.stat().st_size} bytes on disk). "
            "Use an older checkpoint, or copy the file again"
        )


def _damage(path: Path) -> str | None:
    """What is wrong with a zip archive by what it says of itself, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Of an entry marked as a folder torch reads nothing: the tensor is what memory held.
            folders = [e.filename for e in archive.infolist() if e.external_attr & _FOLDER_MARK]
            return archive.testzip() or next(iter(folders), None)
    except Exception as error:  # a damaged directory makes zipfile raise almost anything
        return str(error)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _refusal(path: Path, reason: str) -> str:
    """Say which object torch's safe loader refused, or that the file is no pickle at all."""
    found = re.search(
        r"[Uu]nsupported (?:global|class):? (?:GLOBAL )?([\w.]*\w)|GLOBAL ([\w.]*\w)", reason
    )
    if not found and not _is_pickle(path):
        return _not_a_checkpoint(path)
    holds = (found[1] or found[2]) if found else "a pickle that torch.save did not write"
    return (
        f"{path} was refused: it holds {holds}, and loading that could run code "
        "hidden in the file. `mmdet-lite convert-checkpoint` takes the weights out of it without "
        "running anything, if it is of MMDetection, torchvision or detectron2. Or, if you trust "
        "where it comes from, open it with the program that wrote it and save its weights again as "
        "plain tensors: torch.save(model.state_dict(), 'weights.pth')"
    )


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO


def _not_a_checkpoint(path: Path) -> str:
    return (
        f"{path} cannot be read as a checkpoint ({path.stat().st_size} bytes on disk): it is "
        "truncated, or was not written by torch.save"
    )
