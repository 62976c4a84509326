"""One image from wherever users have it: a file, an array, a tensor, PIL's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from mmdet_lite.data.image_io import read_image

Channels = Literal["rgb", "bgr"]

ACCEPTED = (
    "a path (of a file, a folder, or with * in it), a file:// URL, a (H, W, 3) or (H, W) uint8 "
    "array, a (3, H, W) tensor, a PIL image, or an iterable of these"
)


@dataclass(frozen=True)
class Picture:
    """An image in memory.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        name: what to call it in messages.
        file: where it can be read again; None: nowhere.
    """

    image: np.ndarray
    name: str
    file: Path | None = None


def to_picture(source: Any, channels: Channels = "rgb") -> Picture:
    """Bring one image to RGB.

    Args:
        source: a path; a uint8 array (H, W, 3) or grey (H, W); a tensor (3, H, W), uint8 or float
            in 0..1, on any device; a PIL image, whose EXIF orientation is applied; or a
            :class:`Picture`.
        channels: the order in arrays and tensors: 'rgb', or 'bgr' as OpenCV reads files.

    Raises:
        FileNotFoundError, ValueError: a file is not there, or cannot be decoded.
        TypeError: ``source`` is something else.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, (str, Path)):
        path = to_path(source)
        return Picture(read_image(path), str(path), path)
    if isinstance(source, PIL.Image.Image):
        upright = PIL.ImageOps.exif_transpose(source).convert("RGB")
        return Picture(np.asarray(upright), getattr(source, "filename", "") or "PIL image")
    name, array = "array", source
    if isinstance(source, Tensor):
        name, array = "tensor", _from_tensor(source)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected {ACCEPTED}; got {describe(source)}")
    return Picture(_to_rgb(array, channels, source), name)


def check_channels(channels: str) -> None:
    """Refuse an unknown order of channels.

    Raises:
        ValueError: it is none of 'rgb' and 'bgr'.
    """
    if channels not in get_args(Channels):
        raise ValueError(f"channels must be 'rgb' or 'bgr', got {channels!r}")


def _from_tensor(tensor: Tensor) -> np.ndarray:
    """(3, H, W) to (H, W, 3) uint8."""
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise TypeError(f"a tensor must be (3, H, W), got {describe(tensor)}")
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        low, high = (tensor.min().item(), tensor.max().item()) if tensor.numel() else (0, 0)
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"a float tensor must have values from 0 to 1, got {low:.4g} to {high:.4g}. Do not "
                "normalize it, the model does; or give uint8 values from 0 to 255"
            )
        tensor = (tensor.float() * 255).round().to(torch.uint8)
    return tensor.permute(1, 2, 0).numpy()


def _to_rgb(array: np.ndarray, channels: Channels, source: Any) -> np.ndarray:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not is_image or array.dtype != np.uint8 or not array.size:
        raise TypeError(
            "an array must be (H, W, 3) or (H, W), uint8 with values from 0 to 255, and not empty; "
            f"got {describe(source)}"
        )
    if array.ndim == 2:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(array if channels == "rgb" else array[..., ::-1])


def to_path(source: str | Path) -> Path:
    """A path, or a file:// URL as one.

    Raises:
        ValueError: the URL is of another kind.
    """
    if isinstance(source, Path) or "://" not in source:
        return Path(source).expanduser()
    url = urlsplit(source)
    if url.scheme != "file" or url.netloc not in ("", "localhost"):
        raise ValueError(
            f"{source!r} cannot be read: a URL must begin with file:///. Download the file, and "
            "give its path"
        )
    return Path(url2pathname(unquote(url.path)))


def describe(value: Any) -> str:
    """What came in place of an image, for a message."""
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{kind} {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return f"{kind} {str(value)[:60]!r}"
