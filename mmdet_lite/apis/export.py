"""Exporting a trained detector: a graph that runs without this package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import build_dataset, build_model, read_path
from mmdet_lite.apis.config import load_config, require, section
from mmdet_lite.apis.flops import size_of_inputs
from mmdet_lite.apis.saved_model import read_config
from mmdet_lite.engine.checkpoint import load_checkpoint, write_atomically
from mmdet_lite.engine.weights import load_weights
from mmdet_lite.export.comparison import LEAST_MASK_IOU, MOST_PIXELS, MOST_SCORE, Difference
from mmdet_lite.export.metadata import describe
from mmdet_lite.export.onnx_file import Runner, onnx_bytes, onnx_runner, require_onnx
from mmdet_lite.export.torch_file import torch_bytes, torch_runner
from mmdet_lite.export.tracing import ExportableDetector, InputForm, trace

logger = logging.getLogger("mmdet_lite")

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
_STEP = 32  # of the sides of a model of any size, at least: the stride at which backbones end


def config_of(
    checkpoint: str | Path, config: str | Path | None = None, options: dict | None = None
) -> Config:
    """The config that a checkpoint was trained with, from inside of it.

    Args:
        checkpoint: the file, or zoo:NAME.
        config: a config file to take instead.
        options: dotted keys to values, see :func:`mmdet_lite.apis.config.load_config`.

    Raises:
        ValueError: the checkpoint holds no config, or one that is not read.
    """
    if config is not None:
        return load_config(config, options)
    content = load_checkpoint(read_path(checkpoint, "checkpoint"))
    return read_config(content, str(checkpoint), None, options)


def export_model(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    size: Sequence[int] | None = None,
    batch: int = 1,
    dynamic: bool = False,
    with_nms: bool = True,
    opset: int | None = None,
) -> Difference:
    """Write a trained detector as a graph, after it was compared with the detector itself.

    Args:
        cfg: the config.
        checkpoint: weights that fit its model exactly.
        out: the file to write: NAME.onnx, or NAME.pt2 for torch.export.
        size: (width, height) of the network input; None: that to which the config brings all
            images, or 1280 x 800.
        batch: images at once.
        dynamic: any number of images of any size; ``size`` and ``batch`` are what it is tried on.
        with_nms: detections come out; otherwise all boxes and scores of a one-stage detector.
        opset: version of ONNX's operators; None: the exporter's choice.

    Returns:
        How far the two agreed.

    Raises:
        ValueError: the detector cannot be exported, with the exporter's reason; or the two differ,
            and nothing is written.
        ImportError: a package is not installed.
        FileNotFoundError: there is no checkpoint.
        OSError: the file cannot be written.
    """
    require(cfg, ("model",))
    out = _checked_out(Path(out), opset)
    model = build_model(cfg)
    classes = load_weights(model, read_path(checkpoint, "checkpoint"))
    _check_nms_can_be_outside(model, with_nms)
    form = _form(cfg, size, batch, dynamic)
    detector = ExportableDetector(model, with_nms).eval()
    program = trace(detector, form)
    classes = classes or [str(label) for label in range(model.num_classes)]
    metadata = describe(model, cfg, classes, with_nms)
    if out.suffix == SUFFIXES["onnx"]:
        content = onnx_bytes(program, detector.outputs, metadata, opset)
        runner = onnx_runner(content)
    else:
        content = torch_bytes(program, metadata)
        runner = torch_runner(content)
    difference = compare(detector, runner, cfg, form)
    _refuse_if_different(difference, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda file: file.write(content))
    logger.info("wrote %s, %.1f MB, %s", out, len(content) / 1e6, _inputs_of(form))
    return difference


def compare(
    detector: ExportableDetector, runner: Runner, cfg: Config, form: InputForm
) -> Difference:
    """Run a detector and what it was exported to on the same images, and log how they differ.

    Args:
        detector: in evaluation mode, on the CPU.
        runner: runs the exported one.
        cfg: whose test_data the images are of; without its files they are made up.
        form: of the inputs.
    """
    difference = Difference()
    model = detector.model
    for count, size in form.cases():
        images, shapes, what = _images(cfg, count, size)
        with torch.no_grad():
            tensors = detector(torch.from_numpy(images), torch.from_numpy(shapes))
        expected, given = [tensor.numpy() for tensor in tensors], runner(images, shapes)
        if detector.with_nms:
            mask_head = "masks" in detector.outputs
            difference.add_detections(expected, given, _mask_thr(model) if mask_head else 0.5)
        else:
            difference.add_raw(expected, given)
        logger.info("compared on %s in %d x %d", what, *size)
    logger.info("%s", difference)
    if not difference.compared:
        logger.warning(
            "the detector found nothing in these images, so the comparison says little; lower its "
            "score_thr with --cfg-options, or give a config whose test_data has images"
        )
    return difference


def _mask_thr(model: nn.Module) -> float:
    head = model.roi_head.mask_head
    return (head[-1] if isinstance(head, nn.ModuleList) else head).mask_thr


def _checked_out(out: Path, opset: int | None) -> Path:
    if out.suffix not in SUFFIXES.values():
        raise ValueError(
            f"the file to write, {str(out)!r}, ends in {out.suffix or 'nothing'!r}: expected "
            f"{SUFFIXES['onnx']} or, for torch.export, {SUFFIXES['torch']}"
        )
    if out.suffix == SUFFIXES["onnx"]:
        require_onnx()
    elif opset is not None:
        raise ValueError(f"opset is of ONNX, and {str(out)!r} is a file of torch.export; leave it")
    return out


def _check_nms_can_be_outside(model: nn.Module, with_nms: bool) -> None:
    if not with_nms and not hasattr(model, "predict_all"):
        raise ValueError(
            f"NMS outside is for one-stage detectors, but the model is a {type(model).__name__}, "
            "which needs one to choose its proposals; export it with NMS inside"
        )


def _form(cfg: Config, size: Sequence[int] | None, batch: int, dynamic: bool) -> InputForm:
    data = section(cfg, "test_data") or section(cfg, "val_data")
    step = int(np.lcm(_STEP, data.get("size_divisor", _STEP)))
    width, height = size_of_inputs(cfg) if size is None else size
    if width % step or height % step:
        rounded = [-(-side // step) * step for side in (width, height)]
        raise ValueError(
            f"the size {width} x {height} has a side that is no multiple of {step}, to which "
            f"pictures are padded: give --size {rounded[0]} {rounded[1]}"
        )
    return InputForm((width, height), batch, dynamic, step)


def _images(cfg: Config, count: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, str]:
    """Pictures (count, 3, H, W) uint8, their shapes (count, 2) int64, and what they are."""
    number = "1 image" if count == 1 else f"{count} images"
    pictures, what = _pictures_of(cfg, count), f"{number} of test_data"
    if pictures is None:
        pictures, what = _made_up(count, size), f"{number}, made up,"
    images = np.zeros((count, 3, size[1], size[0]), dtype=np.uint8)
    shapes = np.zeros((count, 2), dtype=np.int64)
    for image, shape, picture in zip(images, shapes, pictures, strict=True):
        factor = min(1, size[1] / picture.shape[0], size[0] / picture.shape[1])
        shape[:] = [max(int(side * factor), 1) for side in picture.shape[:2]]
        picture = cv2.resize(picture, (int(shape[1]), int(shape[0])))
        image[:, : shape[0], : shape[1]] = picture.transpose(2, 0, 1)
    return images, shapes, what


def _pictures_of(cfg: Config, count: int) -> list[np.ndarray] | None:
    """Images of ``test_data`` after its pipeline, (H, W, 3) each; None: there are none here."""
    if not cfg.get("test_data"):
        return None
    try:
        dataset = build_dataset(cfg, "test", seed=0)
        chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
        return [dataset[int(index)].image for index in chosen]
    except (OSError, ValueError, KeyError) as error:
        logger.info("test_data cannot be read (%s)", str(error).partition("\n")[0])
        return None


def _made_up(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Noise at several scales, the same every time: (H, W, 3) each."""
    rng = np.random.default_rng(0)
    pictures: list[Any] = [np.zeros((size[1], size[0], 3), dtype=np.float32) for _ in range(count)]
    for cells in (2, 5, 12, 40):
        for picture in pictures:
            noise = rng.uniform(0, 255 / 4, (cells, cells, 3)).astype(np.float32)
            picture += cv2.resize(noise, size, interpolation=cv2.INTER_NEAREST)
    return [picture.astype(np.uint8) for picture in pictures]


def _refuse_if_different(difference: Difference, out: Path) -> None:
    if not difference.is_small():
        raise ValueError(
            f"what was exported detects something else than the detector: {difference}. Allowed "
            f"are {MOST_PIXELS} pixels, {MOST_SCORE} of the score, a masks' IoU of "
            f"{LEAST_MASK_IOU} and no detection of one only. {out} is not written. Weights that "
            "were hardly trained score alike everywhere, so that last digits decide; otherwise try "
            "another --size or --opset"
        )


def _inputs_of(form: InputForm) -> str:
    if form.dynamic:
        return f"for any number of images, with sides that are multiples of {form.step}"
    images = "1 image" if form.batch == 1 else f"{form.batch} images"
    return f"for {images} of {form.size[0]} x {form.size[1]}"
