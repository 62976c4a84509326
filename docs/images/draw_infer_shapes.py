"""Draw the picture of docs/inference.md: what the demo's model finds in the first three pictures of
its validation.

    python docs/images/draw_infer_shapes.py CHECKPOINT docs/images/infer_shapes.jpg
"""

import sys

import cv2
import numpy as np

from mmdet_lite import load
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.visualization.draw import save_image

NUM, SIDE = 3, 384


def main() -> None:
    """Set the pictures side by side."""
    model = load(sys.argv[1], score_threshold=0.5)
    dataset = ShapesDataset(NUM, (128, 128), data_seed=1)
    drawn = [model(dataset.load(index).image).draw() for index in range(NUM)]
    tiles = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in drawn]
    gap = np.full((SIDE, 8, 3), 255, np.uint8)
    row = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    save_image(sys.argv[2], row)


if __name__ == "__main__":
    main()
