"""Running a model over files and cameras, and writing what it finds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from mmdet_lite.apis.detections import Detections
from mmdet_lite.apis.infer_plan import Plan
from mmdet_lite.apis.inference import Predictor
from mmdet_lite.apis.progress_bar import show_progress
from mmdet_lite.data.picture import Picture, to_picture
from mmdet_lite.data.video import Video, VideoWriter
from mmdet_lite.evaluation.background import Background

logger = logging.getLogger("mmdet_lite")

_COMPLETE = 0.9  # share of a video's frames by its own account, which is not always exact


@dataclass
class CocoFile:
    """Detections of many images as a file in COCO's format, images and categories included."""

    model: Predictor
    base: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, found: Detections, file_name: str, frame: int | None = None) -> None:
        """Take in one image's detections.

        Args:
            found: the detections.
            file_name: relative to ``base``.
            frame: of a video, from 0.
        """
        height, width = found.size
        image = {"id": len(self.images) + 1, "file_name": file_name}
        image |= {"width": width, "height": height}
        self.images.append(image if frame is None else image | {"frame_index": frame})
        for entry in found.to_coco(image["id"]):
            rle = entry.get("segmentation")
            area = float(coco_mask.area(rle)) if rle else entry["bbox"][2] * entry["bbox"][3]
            extra = {"id": len(self.annotations) + 1, "area": area, "iscrowd": 0}
            self.annotations.append(entry | extra)

    def write(self, path: Path) -> None:
        """Write the file; its folder is made."""
        named = zip(self.model.category_ids, self.model.classes, strict=True)
        content = {
            "info": {"image_dir": str(self.base)},
            "images": self.images,
            "categories": [{"id": key, "name": name} for key, name in named],
            "annotations": self.annotations,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def infer(model: Predictor, plan: Plan, batch: int = 1, max_frames: int | None = None) -> None:
    """Write pictures and videos with what a model finds; go on where an input cannot be read.

    Args:
        model: the detector.
        plan: inputs and outputs.
        batch: images or frames at once; of cameras it is one.
        max_frames: of each video or camera; None: all there are, of a camera until Ctrl-C.

    Raises:
        ValueError: at the end: inputs could not be read; lists all of them.
        OSError: an output cannot be written.
    """
    run = _Run(model, plan, CocoFile(model, plan.base))
    try:
        if plan.images:
            run.images(batch)
        for source, target in plan.videos.items():
            run.video(str(source), plan.name(source), target, batch, max_frames)
        for source, target in plan.cameras.items():
            run.video(source, target.stem, target, 1, max_frames)
    finally:  # after Ctrl-C, too
        if plan.json is not None:
            run.coco.write(plan.json)
            logger.info("wrote %s", plan.json)
    run.report()


@dataclass
class _Run:
    """One call of :func:`infer`; pictures are drawn and written in the background."""

    model: Predictor
    plan: Plan
    coco: CocoFile
    done: int = 0
    objects: int = 0
    problems: list[str] = field(default_factory=list)

    def images(self, batch: int) -> None:
        """Detect in all images of the plan."""
        found = self.model.stream(self._readable(list(self.plan.images)), batch)
        writing = Background()
        try:
            for one in show_progress(found, len(self.plan.images), "images"):
                writing.submit(self._write_picture, one)
        finally:
            writing.take()

    def video(
        self, source: str | int, name: str, target: Path, batch: int, max_frames: int | None
    ) -> None:
        """Detect in one video or camera; what was read of it before an error or Ctrl-C stays."""
        try:
            video = Video(source, max_frames)
        except (OSError, ValueError) as error:
            self.problems.append(str(error))
            return
        logger.info("%s -> %s, %.4g frames/s", video.name, target, video.fps)
        writing = Background()
        with VideoWriter(target, video.fps) as writer:
            try:
                found = self.model.stream(video, batch)
                for frame, one in enumerate(show_progress(found, video.num_frames, "frames")):
                    writing.submit(self._write_frame, writer, one, name, frame)
            except ValueError as error:
                self.problems.append(str(error))
            finally:
                writing.take()
        if video.num_frames and 0 < video.count < _COMPLETE * video.num_frames:
            self.problems.append(
                f"{video.name}: ended after {video.count} of {video.num_frames} frames; it is cut "
                "or damaged"
            )

    def report(self) -> None:
        """Say what was found and, by an error, what could not be read."""
        threshold = self.model.score_threshold
        hint = "" if self.objects or not self.done else "; a lower --score shows more"
        logger.info(
            "%d objects with a score from %g on in %d images or frames, drawn in %s%s",
            *(self.objects, threshold, self.done, self.plan.out, hint),
        )
        if self.problems:
            inputs = len(self.plan.images) + len(self.plan.videos) + len(self.plan.cameras)
            raise ValueError(
                f"{len(self.problems)} of {inputs} inputs could not be read, or not completely:\n"
                + "\n".join(self.problems)
            )

    def _readable(self, files: Sequence[Path]) -> Iterator[Picture]:
        for file in files:
            try:
                yield to_picture(file)
            except (OSError, ValueError) as error:
                self.problems.append(str(error))

    def _write_picture(self, found: Detections) -> None:
        found.save(self.plan.images[found.file], score=0)
        self._count(found, self.plan.name(found.file))

    def _write_frame(self, writer: VideoWriter, found: Detections, name: str, frame: int) -> None:
        writer.write(found.draw(score=0))
        self._count(found, name, frame)

    def _count(self, found: Detections, name: str, frame: int | None = None) -> None:
        self.done += 1
        self.objects += len(found)
        if self.plan.json is not None:
            self.coco.add(found, name, frame)
