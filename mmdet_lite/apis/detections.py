"""What was found in one image, as users get it. Letters: n objects, H, W image size, m mask side.

Inside the package detections are padded batches, :class:`mmdet_lite.structures.samples.Detections`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmdet_lite.data.picture import Picture, to_picture
from mmdet_lite.structures.coordinates import to_original_boxes, to_unclipped_boxes
from mmdet_lite.structures.pasting import PasteRule, paste_and_encode, paste_masks
from mmdet_lite.structures.samples import Detections as Batch
from mmdet_lite.structures.samples import ImageMeta
from mmdet_lite.visualization.draw import draw_instances, save_image

if TYPE_CHECKING:
    import supervision

_NAMED = 6  # classes in the repr


@dataclass(frozen=True, eq=False)
class MaskPatches:
    """Masks as the model predicts them, a small square for each box.

    Attributes:
        values: (n, m, m) probabilities.
        boxes: (n, 4) xyxy that the squares fill, pixels of the image; they may reach out of it.
        threshold: a pixel belongs to the mask from this probability on.
        rule: see :func:`mmdet_lite.structures.pasting.paste_masks`.
    """

    values: Tensor
    boxes: Tensor
    threshold: float
    rule: PasteRule

    def select(self, indices: np.ndarray) -> MaskPatches:
        """Those at ``indices``."""
        rows = torch.from_numpy(indices)
        return replace(self, values=self.values[rows], boxes=self.boxes[rows])


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects of one image, the best first; boxes and masks are in its pixels.

    Attributes:
        boxes: (n, 4) float32 (x1, y1, x2, y2).
        scores: (n,) float32 in 0..1.
        labels: (n,) int64 in 0..K-1, places in ``classes``.
        classes: the K names that the model knows.
        category_ids: the K ids by which COCO files know them.
        size: (H, W) of the image.
        name: the file or what else the image is called.
        file: where the image can be read again; None: nowhere, and ``image`` is kept.
        patches: where ``masks`` come from; None: the model predicts none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    size: tuple[int, int]
    name: str
    file: Path | None
    patches: MaskPatches | None
    _image: np.ndarray | None

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        height, width = self.size
        found = Counter(self.names).most_common()
        listed = [f"{count} {name}" for name, count in found[:_NAMED]]
        listed += [f"{len(found) - _NAMED} more classes"] if len(found) > _NAMED else []
        scores = f"; scores {self.scores.min():.2f} to {self.scores.max():.2f}" if len(self) else ""
        masks = "" if self.patches is None else ", with masks"
        return (
            f"<Detections of {self.name} ({width} x {height}): "
            f"{', '.join(listed) or 'nothing'}{scores}{masks}>"
        )

    @property
    def names(self) -> list[str]:
        """The n class names."""
        return [self.classes[label] for label in self.labels]

    @cached_property
    def masks(self) -> np.ndarray | None:
        """(n, H, W) bool, made when first asked for; None: the model predicts none."""
        if self.patches is None:
            return None
        p = self.patches
        return paste_masks(p.values, p.boxes, self.size, p.threshold, p.rule).numpy()

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB; a file is read again, so that results stay small.

        Raises:
            FileNotFoundError, ValueError: the file is gone or damaged.
        """
        return to_picture(self.file).image if self._image is None else self._image

    def __getitem__(self, key: int | slice | str | Sequence[str] | np.ndarray) -> Detections:
        """A part of the detections.

        Args:
            key: a place or a slice; an array of places or of n bools; a class name or several.

        Raises:
            KeyError: the model has no such class.
            IndexError: there is no such place.
        """
        names = [key] if isinstance(key, str) else key
        if isinstance(names, (list, tuple)) and names and all(isinstance(k, str) for k in names):
            key = np.isin(self.labels, [self._label(name) for name in names])
        rows = np.atleast_1d(np.arange(len(self))[key])
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            patches=None if self.patches is None else self.patches.select(rows),
        )

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        return self[self.scores >= score]

    def tensors(self, device: str | torch.device = "cpu") -> dict[str, Tensor]:
        """``boxes``, ``scores``, ``labels`` and, if there are any, ``masks`` as tensors.

        Args:
            device: where to put them.
        """
        arrays = {"boxes": self.boxes, "scores": self.scores, "labels": self.labels}
        arrays |= {} if self.masks is None else {"masks": self.masks}
        return {name: torch.tensor(array, device=device) for name, array in arrays.items()}

    def draw(self, score: float = 0.3) -> np.ndarray:
        """The image with masks, boxes and names; one with a side under 400 pixels is enlarged.

        Args:
            score: detections below are not drawn.

        Returns:
            (H', W', 3) uint8 RGB.
        """
        shown = self.above(score)
        return draw_instances(
            self.image, shown.boxes, shown.labels, self.classes, shown.scores, shown.masks
        )

    def save(self, path: str | Path, score: float = 0.3) -> None:
        """Write what :meth:`draw` gives to a file, .png or .jpg.

        Raises:
            ValueError: OpenCV can't write the format.
        """
        save_image(path, self.draw(score))

    def to_coco(
        self, image_id: int = 1, category_ids: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """The detections in COCO's results format.

        Args:
            image_id: the image's id in the annotation file.
            category_ids: class name -> id in that file; None: ``self.category_ids``.

        Returns:
            A dict each, with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height),
            ``score`` and, if there are masks, ``segmentation`` (compressed RLE).

        Raises:
            KeyError: ``category_ids`` lacks a class.
        """
        ids = self.category_ids
        if category_ids is not None:
            ids = [category_ids[name] for name in self.classes]
        corners = self.boxes.astype(np.float64)
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
        entries = [
            {"image_id": image_id, "category_id": ids[label], "bbox": box, "score": score}
            for label, box, score in zip(self.labels, boxes, self.scores.tolist(), strict=True)
        ]
        if self.patches is not None:
            p = self.patches
            codes = paste_and_encode(p.values, p.boxes, self.size, p.threshold, p.rule)
            for entry, code in zip(entries, codes, strict=True):
                entry["segmentation"] = {"size": list(self.size), "counts": code.decode()}
        return entries

    def to_supervision(self) -> supervision.Detections:
        """The detections for the package ``supervision``, which draws, tracks and counts.

        Raises:
            ImportError: it is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            if error.name != "supervision":
                raise
            raise ImportError(
                "to_supervision needs the package supervision, which is not installed: "
                "pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def _label(self, name: str) -> int:
        if name not in self.classes:
            raise KeyError(f"the model has no class {name!r}; it has {', '.join(self.classes)}")
        return self.classes.index(name)


def take_detections(
    found: Batch,
    place: int,
    meta: ImageMeta,
    picture: Picture,
    classes: tuple[str, ...],
    category_ids: tuple[int, ...],
) -> Detections:
    """One image's detections out of a batch's.

    Args:
        found: of B images, in network coordinates, on the CPU.
        place: the image's place in the batch.
        meta: what was done to it.
        picture: the image itself.
        classes, category_ids: of the model.
    """
    rows = found.valid[place]
    boxes = found.boxes[place, rows]
    patches = None
    if found.masks is not None:
        whole = to_unclipped_boxes(boxes, meta)
        patches = MaskPatches(found.masks[place, rows], whole, found.mask_thr, found.paste_rule)
    return Detections(
        boxes=to_original_boxes(boxes, meta).numpy(),
        scores=found.scores[place, rows].float().numpy(),
        labels=found.labels[place, rows].numpy(),
        classes=classes,
        category_ids=category_ids,
        size=tuple(meta.ori_shape),
        name=picture.name,
        file=picture.file,
        patches=patches,
        _image=picture.image if picture.file is None else None,
    )
