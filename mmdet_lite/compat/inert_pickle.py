"""Pickles of other programs, read without importing or running anything that they name.

A pickle is a program: it names classes and functions and calls them. Here every name is answered
with a class of no effect, made for this one file. Of a few names, those that tensors and arrays are
made of, the calls are written down as records; after the program has ended, :func:`plain` turns
records into tensors and drops everything else.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

_PLAIN = (type(None), bool, int, float, str, bytes)
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
_ARRAY_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")
_IN_THE_MAKING = object()


class Inert:
    """What stands for an object of a class that is not taken: it swallows what it is given."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        self.args = args

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        return Inert()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Filled like a dict, by a class derived from it."""

    def append(self, value: Any) -> None:
        """Filled like a list."""

    def extend(self, values: Any) -> None:
        """Filled like a list."""

    def add(self, value: Any) -> None:
        """Filled like a set."""


class StorageRecord:
    """A tensor's memory in the file: the numbers stand elsewhere, under ``key``."""

    __slots__ = ("dtype", "key", "count")

    def __init__(self, dtype: torch.dtype, key: str, count: int):
        self.dtype, self.key, self.count = dtype, key, count


class InertUnpickler(pickle.Unpickler):
    """Run a pickle's program where all names are dummies.

    Args:
        file: the pickle.
    """

    def __init__(self, file: BinaryIO):
        # latin1 maps bytes to characters one to one: arrays in pickles of Python 2 are text here
        super().__init__(file, encoding="latin1")
        self.storages: list[StorageRecord] = []
        self._classes: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str) -> type:
        """The dummy for a name; nothing is imported.

        Only two names give more than a dummy: ``OrderedDict`` and ``dict`` are what they say, since
        a built-in class can neither be changed by a pickle nor do anything but hold what it gets.
        """
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("builtins", "dict"), ("__builtin__", "dict")):
            return dict
        key = (str(module), str(name))
        if key not in self._classes:
            members = {"global_name": ".".join(key)}
            self._classes[key] = type("Dummy", (Inert,), members)
        return self._classes[key]

    def persistent_load(self, pid: Any) -> StorageRecord | type:
        """A tensor's memory, as torch refers to it; of a module's class, which torch.save's older
        format refers to with its source beside it, the dummy.

        Raises:
            pickle.UnpicklingError: not in torch's form.
        """
        if type(pid) is tuple and len(pid) == 4 and pid[0] == "module" and _is_dummy(pid[1]):
            return pid[1]
        if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to data in a way that torch does not")
        _, kind, key, _, count = pid[:5]
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("its tensors share memory in an outdated form")
        dtype = _storage_dtype(kind)
        if dtype is None or type(count) is not int or count < 0 or type(key) not in (str, int):
            raise pickle.UnpicklingError(f"it has memory of an unknown kind, {global_name(kind)}")
        record = StorageRecord(dtype, str(key), count)
        self.storages.append(record)
        return record


def _is_dummy(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Inert)


def global_name(value: Any) -> str:
    """The name that a dummy, or an object of one, stands for; else that of the type."""
    cls = value if isinstance(value, type) else type(value)
    name = cls.__dict__.get("global_name")
    return _printable(name if type(name) is str else cls.__name__)


def _printable(text: str) -> str:
    """Without what a terminal would obey."""
    return text if text.isprintable() else ascii(text)


def _storage_dtype(kind: Any) -> torch.dtype | None:
    module, _, name = global_name(kind).rpartition(".")
    return _STORAGES.get(name) if module in _STORAGE_MODULES else None


def plain(
    value: Any, memory: Callable[[StorageRecord], Tensor]
) -> tuple[Any, list[tuple[str, str]]]:
    """Tensors and plain types only; the rest is left out.

    Args:
        value: what :class:`InertUnpickler` gave.
        memory: gives the numbers of a storage as a tensor of one dimension.

    Returns:
        The value, and what was left out: (place, name of its class) each. A value that is left out
        as a whole is None.

    Raises:
        ValueError: a tensor reaches outside of its memory, or an array is not in numpy's form.
    """
    reader = _Reader(memory)
    found = reader.read(value, "")
    return (None if found is _LEFT_OUT else found), reader.dropped


_LEFT_OUT = object()


class _Reader:
    """Walks what a pickle left, each object once however often it is referred to."""

    def __init__(self, memory: Callable[[StorageRecord], Tensor]):
        self.memory = memory
        self.dropped: list[tuple[str, str]] = []
        self.done: dict[int, Any] = {}
        self.flat: dict[tuple[str, torch.dtype], Tensor] = {}

    def read(self, value: Any, place: str) -> Any:
        if type(value) in _PLAIN:
            return value
        known = self.done.get(id(value))
        if known is _IN_THE_MAKING:
            return self._drop(place, "a reference to what it is part of")
        if known is None:
            self.done[id(value)] = _IN_THE_MAKING
            known = self.done[id(value)] = self._read_new(value, place)
        return known

    def _read_new(self, value: Any, place: str) -> Any:
        if type(value) in (dict, OrderedDict):
            return self._read_dict(value, place)
        if type(value) in (list, tuple):
            items = [self.read(item, f"{place}[{i}]") for i, item in enumerate(value)]
            return type(value)(item for item in items if item is not _LEFT_OUT)
        name = global_name(value)
        if isinstance(value, Inert) and not isinstance(value, type):
            args = value.__dict__.get("args")
            maker = _MAKERS.get(name)
            if maker is not None and type(args) is tuple:
                return maker(self, value, args, place)
        return self._drop(place, name)

    def _read_dict(self, value: dict, place: str) -> dict:
        result = {}
        for key, item in dict.items(value):
            where = f"{place}.{key}".lstrip(".") if type(key) in (str, int) else place
            if type(key) not in (str, int):
                self._drop(place, f"the key {global_name(key)}")
                continue
            read = self.read(item, where)
            if read is not _LEFT_OUT:
                result[key] = read
        return result

    def _drop(self, place: str, name: str) -> object:
        self.dropped.append((_printable(place or "the whole"), name))
        return _LEFT_OUT

    def tensor(self, value: Inert, args: tuple, place: str) -> Any:
        """``_rebuild_tensor(storage, offset, size, stride)`` and its later forms."""
        storage, offset, size, stride = args[:4] if len(args) >= 4 else (None,) * 4
        if type(storage) is not StorageRecord or not _whole((offset,)):
            raise ValueError(f"{place} is no tensor in torch's form")
        size, stride = self.read(size, place), self.read(stride, place)
        if not (_whole(size) and _whole(stride) and len(size) == len(stride)):
            raise ValueError(f"{place} is no tensor in torch's form")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        # A view may be larger than its memory by strides of 0; here it would fill the disk.
        if math.prod(size) > storage.count or (0 not in size and last >= storage.count):
            raise ValueError(f"{place} reaches outside of its memory")
        key = (storage.key, storage.dtype)
        if key not in self.flat:
            self.flat[key] = self.memory(storage)
        return self.flat[key].as_strided(size, stride, offset)

    def parameter(self, value: Inert, args: tuple, place: str) -> Any:
        """``_rebuild_parameter(data, requires_grad, hooks)``: its data."""
        return self.read(args[0], place) if args else self._drop(place, "an empty parameter")

    def size(self, value: Inert, args: tuple, place: str) -> Any:
        """``torch.Size((2, 3))`` as a tuple."""
        return self.read(args[0], place) if args else ()

    def array(self, value: Inert, args: tuple, place: str) -> Any:
        """numpy's ``_reconstruct``, whose state is (version, shape, dtype, is_fortran, bytes)."""
        state = value.__dict__.get("state")
        if type(state) is not tuple or len(state) != 5 or not _whole(state[1]):
            raise ValueError(f"{place} is no array in numpy's form")
        _, shape, dtype, is_fortran, content = state
        return self._array(content, dtype, shape, "F" if is_fortran else "C", place)

    def buffer(self, value: Inert, args: tuple, place: str) -> Any:
        """numpy's ``_frombuffer(bytes, dtype, shape, order)``, of pickle protocol 5."""
        if len(args) != 4 or not _whole(args[2]) or args[3] not in ("C", "F"):
            raise ValueError(f"{place} is no array in numpy's form")
        return self._array(*args, place)

    def _array(self, content: Any, dtype: Any, shape: tuple, order: str, place: str) -> Any:
        dtype, content = _array_dtype(dtype), self._bytes(content, place)
        if dtype is None or content is None:
            return self._drop(place, "an array that is not of numbers")
        if len(content) != dtype.itemsize * math.prod(shape):
            raise ValueError(f"{place} has {len(content)} bytes, which is not what {shape} needs")
        array = np.frombuffer(content, dtype).reshape(shape, order=order)
        return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C"))

    def scalar(self, value: Inert, args: tuple, place: str) -> Any:
        """numpy's ``scalar(dtype, bytes)`` as a Python number."""
        dtype = _array_dtype(args[0]) if len(args) == 2 else None
        content = self._bytes(args[1], place) if dtype is not None else None
        if content is None or len(content) != dtype.itemsize:
            return self._drop(place, "a scalar that is not a number")
        return np.frombuffer(content, dtype)[0].item()

    def encoded(self, value: Inert, args: tuple, place: str) -> Any:
        """``_codecs.encode(text, 'latin1')``: how Python 3 writes bytes in pickles for Python 2."""
        if len(args) == 2 and type(args[0]) is str and args[1] == "latin1":
            return args[0].encode("latin1")
        return self._drop(place, "_codecs.encode")

    def no_bytes(self, value: Inert, args: tuple, place: str) -> Any:
        """``bytes()``: how Python 3 writes empty ones in pickles for Python 2."""
        return b"" if not args else self._drop(place, "bytes")

    def _bytes(self, content: Any, place: str) -> bytes | None:
        if isinstance(content, Inert) and global_name(content) in _BYTES_MAKERS:
            content = self.read(content, place)
        if type(content) is str:  # bytes of Python 2
            content = content.encode("latin1")
        return bytes(content) if type(content) in (bytes, bytearray) else None


def _whole(values: Any) -> bool:
    return type(values) in (list, tuple) and all(type(v) is int and v >= 0 for v in values)


def _array_dtype(value: Any) -> np.dtype | None:
    """``numpy.dtype('f4', ...)`` whose state is (version, byte order, ...), as a real one."""
    if not isinstance(value, Inert) or global_name(value) != "numpy.dtype":
        return None
    args, state = value.__dict__.get("args"), value.__dict__.get("state")
    kind = args[0] if type(args) is tuple and args else None
    if type(kind) is not str or kind not in _ARRAY_KINDS:
        return None
    order = state[1] if type(state) is tuple and len(state) > 1 else "="
    return np.dtype(kind).newbyteorder(order if order in ("<", ">") else "=")


_MAKERS: dict[str, Callable[[_Reader, Inert, tuple, str], Any]] = {
    "torch._utils._rebuild_tensor": _Reader.tensor,
    "torch._utils._rebuild_tensor_v2": _Reader.tensor,
    "torch._utils._rebuild_parameter": _Reader.parameter,
    "torch._utils._rebuild_parameter_with_state": _Reader.parameter,
    "torch.Size": _Reader.size,
    "numpy.core.multiarray._reconstruct": _Reader.array,
    "numpy._core.multiarray._reconstruct": _Reader.array,
    "numpy.core.numeric._frombuffer": _Reader.buffer,
    "numpy._core.numeric._frombuffer": _Reader.buffer,
    "numpy.core.multiarray.scalar": _Reader.scalar,
    "numpy._core.multiarray.scalar": _Reader.scalar,
    "_codecs.encode": _Reader.encoded,
    "__builtin__.bytes": _Reader.no_bytes,
}
_BYTES_MAKERS = ("_codecs.encode", "__builtin__.bytes")
