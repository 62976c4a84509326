"""Weights that a backbone starts from."""

from __future__ import annotations

import difflib
import inspect
import json
import logging
import pickle
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from mmdet_lite.safetensors_file import SAFETENSORS, read_safetensors

logger = logging.getLogger("mmdet_lite")

_TORCHVISION = "torchvision://"
_OPEN_MMLAB = "open-mmlab://"
_URL = ("https://", "http://")
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError)
# What a detector has no use for: classifiers, and ShuffleNetV2's convolution before it.
_CLASSIFIER = ("fc.", "head.", "conv5.")


def load_pretrained_backbone(backbone: nn.Module, source: str) -> None:
    """Load a classification network's weights into a backbone.

    Args:
        backbone: parameters must have the names of the source, a classifier excepted.
        source: 'torchvision://NAME', 'open-mmlab://NAME' (of MMEngine's list) or a URL, downloaded
            once to torch's cache; or the path of a state dict, of torch.save or ``.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ConnectionError: the weights can't be downloaded.
        ValueError: unknown name, or weights of another architecture.
    """
    if source.startswith(_TORCHVISION):
        state = _download(_torchvision_url(source.removeprefix(_TORCHVISION)), backbone)
    elif source.startswith(_OPEN_MMLAB):
        state = _download(_open_mmlab_url(source.removeprefix(_OPEN_MMLAB)), backbone)
    elif source.startswith(_URL):
        state = _download(source, backbone)
    else:
        state = _from_file(Path(source))
    state = {name: value for name, value in state.items() if not name.startswith(_CLASSIFIER)}
    own = backbone.state_dict()
    missing = sorted(name for name in own if name not in state and "num_batches" not in name)
    shapes = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    unexpected = sorted(name for name in state if name not in own)
    # A stage that is not built is no mistake; more blocks than a stage has are.
    stages = {name.split(".")[0] for name in own}
    surplus = [name for name in unexpected if name.split(".")[0] in stages]
    if missing or shapes or surplus:
        raise ValueError(
            f"backbone weights {source!r} do not fit {type(backbone).__name__}: "
            f"missing {missing[:5]} ({len(missing)} in all); other shapes: {shapes[:5]} "
            f"({len(shapes)} in all); surplus {surplus[:5]} ({len(surplus)} in all). "
            "Is the depth right?"
        )
    if unexpected:
        logger.warning("weights of %s that the backbone has no place for: %s", source, unexpected)
    backbone.load_state_dict(state, strict=False)
    logger.info("backbone initialised from %s", source)


def _torchvision_url(name: str) -> str:
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(name).IMAGENET1K_V1.url
    except (ValueError, AttributeError) as error:
        raise ValueError(f"torchvision has no ImageNet weights for {name!r}") from error


def _open_mmlab_url(name: str) -> str:
    """Where MMEngine's list says that the weights of a name are."""
    import mmengine.hub

    file = Path(mmengine.hub.__file__).with_name("openmmlab.json")
    urls = json.loads(file.read_text())
    if name not in urls:
        near = difflib.get_close_matches(name, urls, n=3, cutoff=0.5) or sorted(urls)
        raise ValueError(
            f"no weights have the name {_OPEN_MMLAB}{name}; near matches: {', '.join(near)}"
        )
    return urls[name]


def _download(url: str, backbone: nn.Module) -> dict[str, Tensor]:
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        content = torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"could not download {url} ({error}). Download it elsewhere and put it at {file}, or "
            "name your copy with --cfg-options model.backbone.pretrained=PATH, or train from "
            f"scratch with model.backbone.pretrained=None{_also_from_scratch(backbone)}"
        ) from error
    except _UNREADABLE as error:
        raise ValueError(_unreadable(f"{url} (downloaded to {file})", error)) from error
    return _backbone_part(content)


def _also_from_scratch(backbone: nn.Module) -> str:
    """What else to set for random weights, of the arguments that the backbone has."""
    accepted = inspect.signature(type(backbone)).parameters
    settings = {"frozen_stages": -1, "norm_eval": False}
    wanted = [f"{name}={value}" for name, value in settings.items() if name in accepted]
    return f" (then also {' and '.join(wanted)})" if wanted else ""


def _from_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"model.backbone.pretrained={str(path)!r}: no such file (looked for {path.absolute()})"
        )
    return _backbone_part(_load_safely(path))


def _backbone_part(content: dict) -> dict[str, Tensor]:
    """The state dict, of a detector what belongs to its backbone."""
    state = content.get("state_dict", content)
    prefixed = {
        k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")
    }
    return prefixed or state


def _load_safely(path: Path) -> dict:
    if path.suffix == SAFETENSORS:
        try:
            return read_safetensors(path)
        except ValueError as error:
            raise ValueError(f"model.backbone.pretrained: {error}") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ValueError(_unreadable(f"model.backbone.pretrained={str(path)!r}", error)) from error


def _unreadable(what: str, error: Exception) -> str:
    return (
        f"{what} cannot be read safely (weights_only=True): {str(error).partition(chr(10))[0]} It "
        "must hold nothing but tensors by name; `mmdet-lite convert-checkpoint` makes such a file "
        "of it"
    )
