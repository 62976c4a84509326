"""Checkpoint files of other programs: torch.save's two formats, plain pickles, safetensors.

torch's own reader of files with classes inside would import them. This one reads the formats
itself, with :mod:`mmdet_lite.compat.inert_pickle`, and needs nothing but tensors to be known.
"""

from __future__ import annotations

import logging
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmdet_lite.compat.inert_pickle import InertUnpickler, StorageRecord, plain
from mmdet_lite.engine.checkpoint import CheckpointError
from mmdet_lite.safetensors_file import SAFETENSORS, read_safetensors

logger = logging.getLogger(__name__)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of torch.save's format before 1.6
_LEGACY_PROTOCOL = 1001
_LISTED = 12
_OF_WEIGHTS = ("state_dict", "model", "blobs")  # keys under which weights stand
_OF_OBJECTS = ("model", "ema", "state_dict")  # and modules in their place


def read_foreign(path: str | Path) -> dict:
    """Read tensors and plain values; objects of other classes are left out, and listed in the log.

    Args:
        path: a file of torch.save (of any age), of pickle, or ``.safetensors``.

    Returns:
        The dict inside; numpy's arrays are tensors in it.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, of another format, or malformed, or has a module in
            the place of weights.
        ImportError: it is .safetensors, and the package for it is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist (looked at {path.absolute()})")
    try:
        content, dropped = _read(path)
    except (CheckpointError, ImportError):  # the latter: no package for .safetensors
        raise
    except Exception as error:  # a damaged or hostile pickle makes its reader raise almost anything
        raise CheckpointError(
            f"{path} cannot be read ({path.stat().st_size} bytes on disk): "
            f"{str(error).partition(chr(10))[0] or type(error).__name__}. It is damaged, or not a "
            "checkpoint"
        ) from error
    if dropped:
        logger.info("%s: left out, as %s", path, _list_dropped(dropped))
    _refuse_modules(path, content, dropped)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; a checkpoint is a dict")
    return content


def _refuse_modules(path: Path, content: Any, dropped: list[tuple[str, str]]) -> None:
    """Where an object stands in the weights' place, say how to save these."""
    top = content if isinstance(content, dict) else {}
    has_weights = any(isinstance(top.get(key), dict) for key in _OF_WEIGHTS)
    if has_weights or any(isinstance(value, Tensor) for value in top.values()):
        return
    objects = [(place, name) for place, name in dropped if place in (*_OF_OBJECTS, "the whole")]
    if objects:
        place, name = objects[0]
        where = "it is" if place == "the whole" else f"its {place!r} is"
        raise CheckpointError(
            f"{path} has an object, a pickled module as a rule, in the place of weights: {where} "
            f"one of {name}, which is not loaded, since that would run code. With the program that "
            "made it, save the weights alone, torch.save(dict(model.float().state_dict()), "
            "'weights.pth'), and convert that file (docs/checkpoints.md)"
        )


def _list_dropped(dropped: list[tuple[str, str]]) -> str:
    shown = "; ".join(f"{place} ({name})" for place, name in dropped[:_LISTED])
    more = f" and {len(dropped) - _LISTED} more" if len(dropped) > _LISTED else ""
    return f"they are neither tensors nor plain values: {shown}{more}"


def _read(path: Path) -> tuple[Any, list[tuple[str, str]]]:
    if path.suffix == SAFETENSORS:
        return read_safetensors(path), []
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            return _read_zip(path)
        file.seek(0)
        return _read_stream(path, file)


def _read_zip(path: Path) -> tuple[Any, list[tuple[str, str]]]:
    """torch.save's format since 1.6: an archive of ``data.pkl`` and a file a storage."""
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: archive.getinfo(name) for name in archive.namelist()}
        if "data.pkl" not in entries:
            raise CheckpointError(f"{path} is a zip archive, but none of torch.save")
        if "constants.pkl" in entries or any(name.startswith("code/") for name in entries):
            raise CheckpointError(
                f"{path} is a TorchScript archive, which is a program; save the state_dict of the "
                "model that it was made of"
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise CheckpointError(f"{path} is compressed, which torch.save's archives are not")
        order = "little"
        if "byteorder" in entries:
            order = archive.read(entries["byteorder"]).decode("ascii", "replace")

        def memory(storage: StorageRecord) -> Tensor:
            return _numbers(archive.read(entries[f"data/{storage.key}"]), storage, order)

        with archive.open(entries["data.pkl"]) as file:
            content = InertUnpickler(file).load()
        return plain(content, memory)


def _read_stream(path: Path, file: BinaryIO) -> tuple[Any, list[tuple[str, str]]]:
    """torch.save's format before 1.6, several pickles and then the storages; or one pickle."""
    if file.read(1) != pickle.PROTO:
        raise CheckpointError(
            f"{path} is neither a file of torch.save nor a pickle, or it is cut off"
        )
    file.seek(0)
    first = InertUnpickler(file).load()
    if first != _LEGACY_MAGIC:
        return plain(first, _no_memory)
    protocol, system = InertUnpickler(file).load(), InertUnpickler(file).load()
    if protocol != _LEGACY_PROTOCOL or type(system) is not dict:
        raise CheckpointError(f"{path} is of an unknown version of torch.save")
    order = "little" if system.get("little_endian", True) is True else "big"
    unpickler = InertUnpickler(file)
    content = unpickler.load()
    keys = InertUnpickler(file).load()
    return plain(content, _legacy_memory(file, unpickler.storages, keys, order))


def _legacy_memory(
    file: BinaryIO, storages: list[StorageRecord], keys: Any, order: str
) -> Callable[[StorageRecord], Tensor]:
    """Find each storage: the number of elements, then these, in the order of ``keys``."""
    size_of = {storage.key: storage.dtype.itemsize for storage in storages}
    places = {}
    for key in keys:
        count = int.from_bytes(_exactly(file, 8), order)
        places[str(key)] = (file.tell(), count)
        file.seek(count * size_of[str(key)], 1)

    def memory(storage: StorageRecord) -> Tensor:
        start, count = places[storage.key]
        file.seek(start)
        return _numbers(_exactly(file, count * storage.dtype.itemsize), storage, order)

    return memory


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise ValueError("it ends in the middle of a tensor")
    return content


def _numbers(content: bytes, storage: StorageRecord, order: str) -> Tensor:
    if order != sys.byteorder:
        raise ValueError(f"its numbers are {order}-endian, which this machine's are not")
    if len(content) < storage.count * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} is shorter than its tensor")
    if not storage.count:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(content), dtype=storage.dtype, count=storage.count)


def _no_memory(storage: StorageRecord) -> Tensor:
    raise ValueError("it refers to tensors that are not in the file")
