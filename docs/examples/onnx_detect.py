"""Detect in one picture with an exported model: onnxruntime, numpy and OpenCV are all it needs.

python docs/examples/onnx_detect.py MODEL.onnx PICTURE OUT.png
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime


@dataclass
class Placement:
    """Where a picture lies in the network's input: x, y factors and its upper left corner."""

    factors: np.ndarray
    corner: np.ndarray

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """(n, 4) boxes of the network's input to the picture's pixels."""
        return ((boxes.reshape(-1, 2, 2) - self.corner) / self.factors).reshape(-1, 4)


class Detector:
    """An exported model and what its file says about itself."""

    def __init__(self, path: str):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        properties = self.session.get_modelmeta().custom_metadata_map
        self.classes = json.loads(properties["classes"])
        self.prepare = json.loads(properties["preprocessing"])
        self.post = json.loads(properties["postprocessing"])
        batch, _, height, width = self.session.get_inputs()[0].shape
        self.batch = batch if isinstance(batch, int) else 1
        self.fixed = (width, height) if isinstance(width, int) else None

    def __call__(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """Boxes (n, 4), scores (n,), labels (n,) and perhaps masks (n, m, m) of an RGB picture."""
        canvas, shape, placement = self.place(picture)
        images = np.repeat(canvas.transpose(2, 0, 1)[None], self.batch, axis=0)
        shapes = np.repeat(np.array([shape], dtype=np.int64), self.batch, axis=0)
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(None, {"images": images, "shapes": shapes})
        found = {name: value[0] for name, value in zip(names, values, strict=True)}
        if self.post["nms"]:
            valid = found.pop("valid")
            found = {name: value[valid] for name, value in found.items()}
        else:
            found = self.suppress(found["boxes"], found["scores"])
        return found | {"boxes": placement.to_picture(found["boxes"])}

    def place(self, picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int], Placement]:
        """The network's input (H, W, 3), the (height, width) that counts in it, and where."""
        height, width = picture.shape[:2]
        new = self.new_size(width, height)
        step = self.prepare["divisor"]
        canvas = self.fixed or tuple(-(-side // step) * step for side in new)
        corner, letterbox = np.zeros(2, dtype=int), self.prepare["resize"] == "letterbox"
        if letterbox:
            canvas = self.fixed or tuple(self.prepare["size"])
            if self.prepare["center"]:
                corner = np.subtract(canvas, new) // 2
        full = np.full((canvas[1], canvas[0], 3), self.prepare["pad_value"], dtype=np.uint8)
        x, y = corner
        full[y : y + new[1], x : x + new[0]] = cv2.resize(picture, new)
        shape = canvas[::-1] if letterbox else new[::-1]
        return full, shape, Placement(np.divide(new, (width, height)), corner)

    def new_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) that a picture is scaled to."""
        kind, size = self.prepare["resize"], self.prepare["size"]
        if kind == "stretch":
            return self.fixed or tuple(size)
        limits = [(self.fixed[0] / width, self.fixed[1] / height)] if self.fixed else []
        if kind == "letterbox" and not self.fixed:
            limits.append((size[0] / width, size[1] / height))
        if kind == "fit":  # of the longer and the shorter side
            limits.append((max(size) / max(width, height), min(size) / min(width, height)))
        factor = min((min(pair) for pair in limits), default=1.0)
        if kind is None or not self.prepare["enlarge"]:
            factor = min(factor, 1.0)
        return max(int(width * factor + 0.5), 1), max(int(height * factor + 0.5), 1)

    def suppress(self, boxes: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """NMS, class by class, of a model that was exported with --nms outside."""
        place, labels = np.nonzero(scores > self.post["score_thr"])
        boxes, scores = boxes[place], scores[place, labels]
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        groups = np.zeros_like(labels) if self.post["class_agnostic"] else labels
        kept = cv2.dnn.NMSBoxesBatched(
            xywh.tolist(), scores.tolist(), groups.tolist(), 0.0, self.post["iou_thr"]
        )
        order = np.array(kept, dtype=int)
        order = order[np.argsort(-scores[order])][: self.post["max_per_img"]]
        return {"boxes": boxes[order], "scores": scores[order], "labels": labels[order]}


def draw(picture: np.ndarray, found: dict[str, np.ndarray], detector: Detector) -> np.ndarray:
    """The RGB picture with boxes, names and masks."""
    picture = picture.copy()
    for row, (x1, y1, x2, y2) in enumerate(np.round(found["boxes"]).astype(int).tolist()):
        label = int(found["labels"][row])
        color = [int(37 * (label + 1) * factor) % 206 + 50 for factor in (1, 3, 7)]
        if "masks" in found and x2 > x1 and y2 > y1:
            mask = cv2.resize(found["masks"][row], (x2 - x1, y2 - y1)) >= detector.post["mask_thr"]
            top, left = max(y1, 0), max(x1, 0)
            window = picture[top:y2, left:x2]
            inside = mask[top - y1 :, left - x1 :][: window.shape[0], : window.shape[1]]
            window[inside] = window[inside] // 2 + np.array(color, dtype=np.uint8) // 2
        cv2.rectangle(picture, (x1, y1), (x2, y2), color, 1)
        text = f"{detector.classes[label]} {found['scores'][row]:.2f}"
        cv2.putText(picture, text, (x1, max(y1 - 3, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="file that `mmdet-lite export` wrote")
    parser.add_argument("picture", help="file that OpenCV reads")
    parser.add_argument("out", help="picture to write")
    parser.add_argument(
        "--score-thr", type=float, default=0.3, help="draw from this score on (0.3)"
    )
    args = parser.parse_args()
    picture = cv2.imread(args.picture)
    if picture is None:
        parser.error(f"{args.picture} is no picture that OpenCV reads")
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    detector = Detector(args.model)
    found = detector(picture)
    shown = found["scores"] >= args.score_thr
    found = {name: value[shown] for name, value in found.items()}
    for box, score, label in zip(*map(found.get, ("boxes", "scores", "labels")), strict=True):
        print(f"{detector.classes[label]} {score:.3f} {np.round(box, 1).tolist()}")
    cv2.imwrite(args.out, cv2.cvtColor(draw(picture, found, detector), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
