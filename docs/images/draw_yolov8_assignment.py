"""Draw the picture of docs/yolov8_assignment.md: what the task-aligned assigner gives to whom.

The predictions are made up: every point predicts the ground truth whose centre is nearest, the
worse the farther away it is, with some noise.

    python docs/images/draw_yolov8_assignment.py docs/images/yolov8_assignment.png
"""

import argparse

import numpy as np
import torch

from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.models.assigners import TaskAlignedAssigner
from mmdet_lite.models.priors import AnchorGenerator
from mmdet_lite.structures.samples import GroundTruth
from mmdet_lite.visualization.draw import save_image, side_by_side
from mmdet_lite.visualization.targets import draw_assignment

SIDE, STRIDES, PICTURE = 128, (8, 16, 32), 1


def make_picture() -> np.ndarray:
    """Two panels, (H, W, 3) uint8 RGB: all points, and those that the ground truths get."""
    sample = ShapesDataset(PICTURE + 1, (SIDE, SIDE), data_seed=3).load(PICTURE)
    boxes, labels = torch.from_numpy(sample.boxes)[None], torch.from_numpy(sample.labels)[None]
    none = torch.zeros(1, 1, 4)
    valid = torch.ones(labels.shape, dtype=torch.bool)
    gt = GroundTruth(boxes, labels, valid, none, none[..., 0].bool())
    shapes = [(SIDE // stride, SIDE // stride) for stride in STRIDES]
    generator = AnchorGenerator(STRIDES, [1.0], scales=[1.0], center_offset=0.5)
    priors = generator(shapes, torch.device("cpu"))
    predicted, logits = _made_up_predictions(priors.centers, boxes[0], labels[0])
    assigned, scores = TaskAlignedAssigner(min_side=STRIDES[1]).assign(
        priors, gt, None, logits, predicted
    )
    shared = sample.image, priors.centers.numpy(), priors.strides[:, 0].numpy(), sample.boxes
    every = draw_assignment(*shared, np.full(len(scores[0]), -1), scores[0].numpy())
    given = draw_assignment(*shared, assigned[0].numpy(), scores[0].numpy())
    return side_by_side(every, given, ("points of three levels", "assigned, filled by score"))


def _made_up_predictions(
    points: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A, 2), (G, 4) and (G,) to boxes (1, A, 4) and logits (1, A, 6)."""
    noise = torch.Generator().manual_seed(0)
    centers, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    apart = (points[:, None] - centers).div(sizes).norm(dim=2)  # in sizes of each ground truth
    distance, nearest = apart.min(dim=1)
    error = (0.05 + 0.3 * distance[:, None]) * torch.randn(len(points), 4, generator=noise)
    predicted = boxes[nearest] + error * sizes[nearest].repeat(1, 2) / 2
    logits = torch.full((len(points), 6), -4.0)
    logits[torch.arange(len(points)), labels[nearest]] = 1 - 3 * distance
    return predicted[None], logits[None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", help="the PNG file to write")
    save_image(parser.parse_args().out, make_picture())
