"""mmdet_lite: object detection and instance segmentation, built from configs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmdet_lite.apis.detections import Detections
    from mmdet_lite.apis.inference import Predictor, load

__version__ = "0.1.0"
__all__ = ["Detections", "Predictor", "__version__", "load"]

_MODULES = {"Detections": "detections", "Predictor": "inference", "load": "inference"}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.apis.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
