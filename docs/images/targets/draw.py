"""Draw what each system trains on one image, for the pages in docs/systems.

Where predictions or proposals decide, the model is trained first, for minutes on a CPU each.

    python docs/images/targets/draw.py [SYSTEM ...]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.targets import show_targets
from mmdet_lite.apis.train import train
from mmdet_lite.assignment.picture import draw_scene
from mmdet_lite.assignment.scene import Frame, Scene, System
from mmdet_lite.visualization.draw import save_image

HERE = Path(__file__).parent
INDEX, WIDTH = 3, 560  # the image, and the width of a panel
TRAINED, BRIEFLY, UNTRAINED = 300, 100, 0  # iterations
SYSTEMS = {
    "faster_rcnn": (HERE / "faster_rcnn.py", TRAINED),
    "mask_rcnn": ("configs/demo/mask-rcnn_r18_fpn_shapes.py", BRIEFLY),
    "cascade_rcnn": (HERE / "cascade_rcnn.py", BRIEFLY),
    "retinanet": (HERE / "retinanet.py", UNTRAINED),
    "fcos": (HERE / "fcos.py", UNTRAINED),
    "nanodet_plus": ("configs/demo/nanodet-plus_shapes.py", BRIEFLY),
    "yolov8": ("configs/demo/yolov8_shapes.py", TRAINED),
    "yolov5": ("configs/demo/yolov5_shapes.py", UNTRAINED),
    "ap_loss": ("configs/demo/retinanet-ap_shapes.py", UNTRAINED),
}


def draw(name: str, folder: Path) -> np.ndarray:
    """The stages of a system's step side by side: (H, W, 3) uint8 RGB.

    Args:
        name: of the system.
        folder: for its checkpoint.
    """
    config, iterations = SYSTEMS[name]
    checkpoints = []
    if iterations:
        options = {"train.max_iters": iterations, "train.val_interval": iterations}
        options |= {"train.precision": "float32", "val_data.dataset.num_images": 8}
        train(load_config(config, options), folder)
        checkpoints.append(folder / f"iter_{iterations}.pth")
    scene, _ = show_targets(load_config(config), INDEX, folder, checkpoints)
    picture = draw_scene(_side_by_side(scene, name))
    columns = len(scene.systems[0].frames[-1].stages)
    width = min(WIDTH * columns, 1100)
    size = width, round(picture.shape[0] * width / picture.shape[1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _side_by_side(scene: Scene, name: str) -> Scene:
    """The stages of the last weights as columns, where the picture has them as rows."""
    frame = scene.systems[0].frames[-1]
    return replace(
        scene, systems=[System(name, [Frame(frame.label, [stage]) for stage in frame.stages])]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="all, if none is named")
    for system in parser.parse_args().systems or SYSTEMS:
        with tempfile.TemporaryDirectory() as work_dir:
            save_image(HERE / f"{system}.jpg", draw(system, Path(work_dir)))
