"""Every system, hardly trained, exported for any size: the same detections by other programs.

``pytest -m slow -s tests/export/test_systems.py`` prints the differences.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.export import compare
from mmdet_lite.apis.train import train
from mmdet_lite.engine.weights import load_weights
from mmdet_lite.export.comparison import Difference
from mmdet_lite.export.onnx_file import onnx_bytes, onnx_runner
from mmdet_lite.export.torch_file import torch_bytes, torch_runner
from mmdet_lite.export.tracing import ExportableDetector, InputForm, trace

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
CASES = [(batch, size) for size in ((160, 192), (256, 224)) for batch in (1, 3)]
BOXES_ONLY = {"model.roi_head.mask_head": None, "model.roi_head.mask_roi_extractor": None}
MASK_RCNN = "demo/mask-rcnn_r18_fpn_shapes.py"
CASCADE = {
    f"model.roi_head.{key.format(stage)}": value
    for stage in range(3)
    for key, value in {
        "sampler.{}.num": 32,
        "bbox_head.{}.in_channels": 64,
        "bbox_head.{}.fc_out_channels": 128,
        "bbox_head.{}.num_classes": 6,
        "mask_head.{}.in_channels": 64,
        "mask_head.{}.num_convs": 1,
        "mask_head.{}.conv_out_channels": 32,
        "mask_head.{}.num_classes": 6,
    }.items()
}
ONE_STAGE = {
    "NanoDet-Plus": ("demo/nanodet-plus_shapes.py", {}),
    "YOLOv8": ("demo/yolov8_shapes.py", {}),
    "YOLOv5": ("demo/yolov5_shapes.py", {}),
    "RetinaNet": ("mix/retinanet-tal_shapes.py", {}),
    "RetinaNet, AP loss": ("demo/retinanet-ap_shapes.py", {}),
    "FCOS": ("mix/fcos-ap_shapes.py", {}),
}
SYSTEMS = ONE_STAGE | {
    "Faster R-CNN": (MASK_RCNN, BOXES_ONLY | {"metric.metrics": ["bbox"]}),
    "Mask R-CNN": (MASK_RCNN, {}),
    "Cascade Mask R-CNN": (Path(__file__).parent / "cascade_config.py", CASCADE),
}
SHORT = {
    "train.max_iters": 60,
    "train.val_interval": 60,
    "train.precision": "float32",
    "train.best_metric": "bbox_mAP",
    "train_data.num_workers": 0,
    "val_data.num_workers": 0,
    "val_data.dataset.num_images": 4,
}


@pytest.fixture(scope="module")
def trained_detector(tmp_path_factory):
    """Gives the config and the detector of a system; each is trained once."""
    known = {}

    def get(name: str):
        if name not in known:
            file, options = SYSTEMS[name]
            cfg = load_config(CONFIGS / file, options | SHORT)
            work_dir = tmp_path_factory.mktemp("run")
            train(cfg, work_dir)
            model = build_model(cfg)
            load_weights(model, work_dir / "iter_60.pth")
            known[name] = cfg, model.eval()
        return known[name]

    return get


def difference_over_cases(cfg, detector, runner) -> Difference:
    total = []
    for batch, size in CASES:
        cfg.test_data.dataset.image_size = size
        total.append(compare(detector, runner, cfg, InputForm(size, batch)))
        assert total[-1].compared
    masks = [one.mask_iou for one in total if one.mask_iou is not None]
    return Difference(
        boxes=max(one.boxes for one in total),
        scores=max(one.scores for one in total),
        mask_iou=min(masks, default=None),
        compared=sum(one.compared for one in total),
        unmatched=sum(one.unmatched for one in total),
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_detections_are_the_same_at_any_size_and_number(name, trained_detector):
    cfg, model = trained_detector(name)
    detector = ExportableDetector(model)
    program = trace(detector, InputForm((256, 256), dynamic=True))
    for kind, runner in (
        ("onnx", onnx_runner(onnx_bytes(program, detector.outputs, {}))),
        ("torch", torch_runner(torch_bytes(program, {}))),
    ):
        difference = difference_over_cases(cfg, detector, runner)
        print(f"{name}, {kind}: {difference}")
        assert difference.is_small(), difference


@pytest.mark.parametrize("name", ONE_STAGE)
def test_all_boxes_and_scores_are_the_same(name, trained_detector):
    cfg, model = trained_detector(name)
    detector = ExportableDetector(model, with_nms=False)
    program = trace(detector, InputForm((256, 256), dynamic=True))
    runner = onnx_runner(onnx_bytes(program, detector.outputs, {}))
    difference = difference_over_cases(cfg, detector, runner)
    print(f"{name}, all boxes: {difference}")
    assert difference.is_small(), difference
