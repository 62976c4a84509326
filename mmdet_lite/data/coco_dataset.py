"""Data sets of images with boxes and masks: COCO's format, and what is read as such."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmdet_lite.data.coco_checks import OF_ANNOTATIONS, check_image_files, clip_boxes
from mmdet_lite.data.coco_columns import read_columns
from mmdet_lite.data.coco_table import CocoTable, build_table
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.federated import Federated, is_federated
from mmdet_lite.data.formats import ReadOptions, Source, read_dataset
from mmdet_lite.data.image_io import read_image
from mmdet_lite.data.pipeline import Transform
from mmdet_lite.data.problems import Problems, describe
from mmdet_lite.data.sample import Sample
from mmdet_lite.garbage_collection import garbage_collection_paused
from mmdet_lite.registry import DATASETS
from mmdet_lite.structures.masks import InstanceMasks

logger = logging.getLogger("mmdet_lite")


@DATASETS.register_module()
class CocoDataset(DetectionDataset):
    """Images with the annotations of a COCO file; everything wrong is listed at construction.

    Labels follow the order of the classes, whatever the category ids are. Boxes are clipped to
    their image. Crowds become ignore boxes. Images without objects stay, unless told otherwise.

    Args:
        ann_file: the annotation file; or a data set of another format, which is read as COCO's:
            Pascal VOC, YOLO, LVIS, LabelMe, CSV.
        image_dir: folder that the file's ``file_name`` values start from; None: where the format
            keeps images, which for a json or CSV file is its own folder.
        pipeline: transforms; reading the image and its annotations is not one of them.
        metainfo: ``dict(classes=(...))`` chooses classes of the file and their order; by default
            all, in the file's order. Annotations of other classes are not used.
        with_masks: load masks too, for training on them or evaluating them.
        filter_empty_gt: leave out images without objects; crowds do not count as objects.
        bad_annotations: what is done with boxes of negative size or wholly outside their image,
            and with malformed masks: 'error' stops, 'skip' leaves them out with a warning. Boxes
            of no width or height and polygons of fewer than three points are always left out so.
        trust_boxes: boxes that look like [x1, y1, x2, y2], like [center x, center y, width, height]
            or like shares of the image's size are [x, y, width, height] in pixels all the same; by
            default they are an error.
        indices: use the first so many images, or those at these positions.
        min_size: leave out images whose shorter side, as the file gives it, has fewer pixels.
        ann_format: what ``ann_file`` is: 'coco', 'lvis', 'voc', 'yolo', 'labelme' or 'csv';
            'auto': found out.
        split: which part of a VOC or YOLO data set; None: the only one.
        seed: the run's seed.

    Raises:
        FileNotFoundError: there is no annotation file.
        ValueError: the file, its content or an argument is wrong, or image files are missing.
    """

    def __init__(
        self,
        ann_file: str,
        image_dir: str | None = None,
        pipeline: Sequence[Transform] = (),
        metainfo: dict[str, Any] | None = None,
        with_masks: bool = False,
        filter_empty_gt: bool = False,
        bad_annotations: Literal["error", "skip"] = "error",
        trust_boxes: bool = False,
        indices: int | Sequence[int] | None = None,
        min_size: int = 0,
        ann_format: str = "auto",
        split: str | None = None,
        seed: int = 0,
    ):
        if bad_annotations not in ("error", "skip"):
            raise ValueError(f"bad_annotations must be 'error' or 'skip', got {bad_annotations!r}")
        classes, skip_bad = _read_classes(metainfo), bad_annotations == "skip"
        folder = None if image_dir is None else Path(image_dir)
        options = ReadOptions(split, folder, classes, skip_bad)
        with garbage_collection_paused():
            source = read_dataset(ann_file, ann_format, options)
            self.table = _load_table(source, ann_file, classes, with_masks, skip_bad, trust_boxes)
        for note in source.notes:
            logger.warning("%s: %s", ann_file, note)
        self.image_dir = source.image_dir
        super().__init__(self.table.classes, self.table.category_ids, pipeline, seed)
        rows = np.flatnonzero(self.table.image_sizes.min(axis=1) >= min_size)
        if num_small := len(self.table.image_ids) - len(rows):
            text = "%s: %d images with a side of fewer than %d pixels are left out (min_size)"
            logger.info(text, ann_file, num_small, min_size)
        self.rows = _choose_images(self.table, rows, filter_empty_gt, indices)
        crowds = np.concatenate([[0], np.cumsum(self.table.is_crowd)])  # before each annotation
        first, last = self.table.offsets[self.rows], self.table.offsets[self.rows + 1]
        num_crowds = np.sum(crowds[last] - crowds[first])
        if len(self.rows) and not np.sum(last - first) - num_crowds:
            logger.warning("%s: not one object in %d images", ann_file, len(self.rows))
        logger.info(
            "%s: %d of %d images, with %d objects and %d crowds of %d classes",
            *(ann_file, len(self.rows), len(self.table.image_ids)),
            *(np.sum(last - first) - num_crowds, num_crowds, len(self.classes)),
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_sizes(self) -> np.ndarray:
        """(N, 2) int64 (height, width), as the annotation file gives them."""
        return self.table.image_sizes[self.rows]

    def load(self, index: int) -> Sample:
        """Read one image with its annotations.

        Raises:
            FileNotFoundError: the image file is gone.
            ValueError: it cannot be decoded, or its size is not the annotation file's.
        """
        table, row = self.table, self.rows[index]
        image, path = self._read_image(row)
        size = image.shape[:2]
        annotations = np.arange(*table.offsets[row : row + 2])
        boxes = clip_boxes(table.boxes_xywh[annotations], table.image_sizes[row])
        crowd = table.is_crowd[annotations]
        objects = annotations[~crowd]
        masks = None
        if table.segmentations is not None:
            masks = InstanceMasks([table.segmentations[i] for i in objects], size)
        return Sample(
            image=image,
            boxes=boxes[~crowd],
            labels=table.labels[objects],
            annotation_ids=table.annotation_ids[objects],
            ignore_boxes=boxes[crowd],
            masks=masks,
            image_id=int(table.image_ids[row]),
            file=str(path),
            index=index,
            ori_shape=size,
        )

    def labels_of(self, index: int) -> np.ndarray:
        """(n,) labels of one image's objects; crowds do not count."""
        annotations = slice(*self.table.offsets[self.rows[index] :][:2])
        return self.table.labels[annotations][~self.table.is_crowd[annotations]]

    def image_id_of(self, index: int) -> int:
        """One image's id in the annotation file."""
        return int(self.table.image_ids[self.rows[index]])

    def coco_dict(self) -> dict[str, Any]:
        """Ground truth of the images and classes used: boxes as in the file, areas, crowds."""
        table = self.table
        annotations = [
            self._coco_annotation(row, i)
            for row in self.rows.tolist()
            for i in range(*table.offsets[row : row + 2])
        ]
        return {
            "images": [self._coco_image(row) for row in self.rows.tolist()],
            "annotations": annotations,
            "categories": [self._coco_category(label) for label in range(len(self.classes))],
        }

    def _read_image(self, row: int) -> tuple[np.ndarray, Path]:
        image_id, path = self.table.image_ids[row], self.image_dir / self.table.file_names[row]
        try:
            image = read_image(path)
        except (OSError, ValueError) as error:
            raise type(error)(f"image id {image_id}: {error}") from error
        expected = tuple(self.table.image_sizes[row].tolist())
        if image.shape[:2] != expected:
            hint = "Correct the annotation file, or put the right image there."
            if image.shape[1::-1] == expected:
                hint = (
                    "Height and width are exchanged: the file's EXIF orientation, which is applied "
                    "here, was probably ignored when it was annotated. Rotate its pixels and "
                    "remove the EXIF tag, or annotate it as it is shown."
                )
            raise ValueError(
                f"image id {image_id}: {path} is {image.shape[0]} high and {image.shape[1]} wide, "
                f"but the annotation file says {expected[0]} high and {expected[1]} wide. {hint}"
            )
        return image, path

    def _coco_image(self, row: int) -> dict[str, Any]:
        height, width = self.table.image_sizes[row].tolist()
        file_name = str(self.table.file_names[row])
        image_id = int(self.table.image_ids[row])
        image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        return image | (self.table.federated.of_image(row) if self.table.federated else {})

    def _coco_category(self, label: int) -> dict[str, Any]:
        category = {"id": self.category_ids[label], "name": self.classes[label]}
        return category | (self.table.federated.of_category(label) if self.table.federated else {})

    def _coco_annotation(self, row: int, i: int) -> dict[str, Any]:
        table = self.table
        annotation = {
            "id": int(table.annotation_ids[i]),
            "image_id": int(table.image_ids[row]),
            "category_id": self.category_ids[table.labels[i]],
            "bbox": table.boxes_xywh[i].tolist(),
            "area": float(table.areas[i]),
            "iscrowd": int(table.is_crowd[i]),
        }
        if table.segmentations is not None:
            annotation["segmentation"] = table.segmentations.to_coco(i)
        return annotation


def _load_table(
    source: Source,
    ann_file: str,
    classes: Sequence[str] | None,
    with_masks: bool,
    skip_bad: bool,
    trust_boxes: bool,
) -> CocoTable:
    """Stop with all that is wrong, or say once what is left out or clipped."""
    content, problems = source.content, Problems(ann_file)
    columns = read_columns(content, problems)
    if columns is None:
        problems.raise_if_any("is not in COCO's format")
    table = build_table(columns, classes, with_masks, trust_boxes, problems)
    check_image_files(source.image_dir, columns.images, problems)
    problems.raise_if_any("cannot be used", OF_ANNOTATIONS if skip_bad else ())
    changed = [finding for finding in problems.found if finding.kind in OF_ANNOTATIONS]
    if changed:
        text = "annotation file %s: boxes are clipped to their image, what has no area is left out"
        logger.warning(f"{text}\n%s", ann_file, describe(changed))
    if is_federated(content["images"]):
        table.federated = Federated(content, table.category_ids)
    return table


def _read_classes(metainfo: dict[str, Any] | None) -> tuple[str, ...] | None:
    metainfo = dict(metainfo or {})
    classes = metainfo.pop("classes", None)
    if near := [name for name in metainfo if name.lower() == "classes"]:
        raise ValueError(f"metainfo has {near[0]!r}; the key is 'classes', in lower case")
    if metainfo:
        logger.warning("metainfo: %s not used; only 'classes' is", sorted(metainfo))
    if classes is None:
        return None
    if isinstance(classes, str):
        raise ValueError(f"metainfo classes must be a list of names: write [{classes!r}]")
    if not classes or len(set(classes)) < len(classes):
        raise ValueError(f"metainfo classes must be different names, got {list(classes)}")
    return tuple(classes)


def _choose_images(
    table: CocoTable,
    rows: np.ndarray,
    filter_empty_gt: bool,
    indices: int | Sequence[int] | None,
) -> np.ndarray:
    """Those of the table's rows to use, in the order in which the data set shows them."""
    if filter_empty_gt:
        objects = np.concatenate([[0], np.cumsum(~table.is_crowd)])[table.offsets]
        rows = rows[np.diff(objects)[rows] > 0]
    if indices is None:
        return rows
    chosen = np.arange(indices) if isinstance(indices, int) else np.asarray(indices, np.int64)
    outside = chosen[(chosen < 0) | (chosen >= len(rows))].tolist()
    if outside:
        first = ", ".join(map(str, outside[:5])) + (", ..." if len(outside) > 5 else "")
        raise ValueError(
            f"indices={indices!r} asks for images {first}, but there are {len(rows)} to use. Give "
            "fewer; or, if there should be more, look at the annotation file, filter_empty_gt and "
            "min_size"
        )
    return rows[chosen]
