"""Detections in original image coordinates, as compact arrays that processes can exchange.

Letters: N processed images, n detections of all of them, B images of a batch, H, W image size.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.structures.coordinates import to_original_boxes, to_unclipped_boxes
from mmdet_lite.structures.pasting import paste_and_encode
from mmdet_lite.structures.samples import Detections, ImageMeta


@dataclass
class CocoResults:
    """What was found in a set of images, in pixels of the original images.

    Attributes:
        seen: (N,) int64 ids of the images that were processed, those without detections included.
        image_ids: (n,) int64.
        labels: (n,) int64 in 0..K-1.
        scores: (n,) float32.
        boxes_xywh: (n, 4) float64, COCO's (x, y, width, height).
        sizes: (n, 2) int64 (height, width) of each detection's image.
        rles: n compressed COCO RLE strings, or none at all where masks are not evaluated.
    """

    seen: np.ndarray
    image_ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes_xywh: np.ndarray
    sizes: np.ndarray
    rles: list[bytes]

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def boxes(self) -> np.ndarray:
        """(n, 4) xyxy."""
        return np.hstack([self.boxes_xywh[:, :2], self.boxes_xywh[:, :2] + self.boxes_xywh[:, 2:]])

    def select(self, indices: np.ndarray) -> CocoResults:
        """The detections at ``indices`` (or where a boolean mask is True); ``seen`` stays."""
        picked = np.arange(len(self))[indices]
        arrays = [getattr(self, name)[picked] for name in _PER_DETECTION]
        return CocoResults(self.seen, *arrays, [self.rles[i] for i in picked] if self.rles else [])

    def sort_by_image(self) -> CocoResults:
        """Order by image id; within an image the detector's order stays, as it decides ties."""
        ordered = self.select(np.argsort(self.image_ids, kind="stable"))
        ordered.seen = np.sort(self.seen)
        return ordered

    def segmentation(self, index: int) -> dict:
        """The mask of one detection as compressed COCO RLE."""
        return {"size": self.sizes[index].tolist(), "counts": self.rles[index]}

    def bitmaps(self) -> np.ndarray:
        """All masks at full size, (n, H, W) bool; only for detections of one image."""
        if not self.rles:
            return np.zeros((0, 1, 1), dtype=bool)
        stacked = coco_mask.decode([self.segmentation(i) for i in range(len(self))])  # (H, W, n)
        return stacked.transpose(2, 0, 1).astype(bool)


_PER_DETECTION = [f.name for f in fields(CocoResults) if f.name not in ("seen", "rles")]


def to_coco_results(detections: Detections, metas: Sequence[ImageMeta]) -> CocoResults:
    """Take the boxes of a batch back to the original images; for masks see :func:`encode_masks`.

    Args:
        detections: of B images, in network coordinates, on any device.
        metas: B, one an image.

    Returns:
        The valid detections, without masks.
    """
    per_image = []
    for index, meta in enumerate(metas):
        valid = detections.valid[index]
        boxes = to_original_boxes(detections.boxes[index][valid], meta)
        corners = boxes.double().cpu().numpy()
        per_image.append(
            CocoResults(
                seen=np.array([meta.image_id]),
                image_ids=np.full(len(boxes), meta.image_id),
                labels=detections.labels[index][valid].cpu().numpy(),
                scores=detections.scores[index][valid].float().cpu().numpy(),
                boxes_xywh=np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
                sizes=np.tile(np.array(meta.ori_shape), (len(boxes), 1)),
                rles=[],
            )
        )
    return merge_results(per_image)


def encode_masks(detections: Detections, metas: Sequence[ImageMeta]) -> list[bytes]:
    """The masks of a batch in the original images.

    Args:
        detections: of B images, with masks, in network coordinates, on any device.
        metas: B, one an image.

    Returns:
        A compressed COCO RLE string for each valid detection, in the order of
        :func:`to_coco_results`.
    """
    rles: list[bytes] = []
    for index, meta in enumerate(metas):
        found = slice(int(detections.valid[index].sum()))  # nothing is copied
        masks = detections.masks[index, found]
        boxes = to_unclipped_boxes(detections.boxes[index, found], meta)
        rule = (detections.mask_thr, detections.paste_rule)
        rles += paste_and_encode(masks, boxes, meta.ori_shape, *rule)
    return rles


def merge_results(parts: Sequence[CocoResults]) -> CocoResults:
    """One result of many: of batches, or of processes. Their order does not matter for metrics."""
    empty = np.zeros(0, dtype=np.int64)
    quads = np.zeros((0, 4))
    start = CocoResults(
        empty, empty, empty, np.zeros(0, np.float32), quads, empty.reshape(0, 2), []
    )
    merged = {
        name: np.concatenate([getattr(part, name) for part in (start, *parts)])
        for name in ("seen", *_PER_DETECTION)
    }
    return CocoResults(**merged, rles=[rle for part in parts for rle in part.rles])


def write_json(
    results: CocoResults, category_ids: Sequence[int], with_masks: bool, path: Path
) -> None:
    """Write a COCO results file, floats in full precision.

    Args:
        results: detections.
        category_ids: the data set's category id of each label.
        with_masks: write ``segmentation`` (without boxes, so that readers take areas from the
            masks) instead of ``bbox``.
        path: the file; its folder is made.
    """
    entries = []
    for index in range(len(results)):
        entry = {
            "image_id": int(results.image_ids[index]),
            "category_id": int(category_ids[results.labels[index]]),
            "score": float(results.scores[index]),
        }
        if with_masks:
            rle = results.segmentation(index)
            entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        else:
            entry["bbox"] = results.boxes_xywh[index].tolist()
        entries.append(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
