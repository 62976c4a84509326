"""torchvision's way from a COCO file to a detector's input, as its detection reference has it."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2

_KEYS = ("boxes", "labels", "image_id", "masks")


class TorchvisionData:
    """Chosen images of a COCO file, through v2 transforms.

    Everything is on tensors, as resizing uint8 tensors is faster than resizing Pillow's images.
    Images are resized here and not in the model, as in the reference's augmentation 'multiscale'.
    Crowds are left out, as there.

    Args:
        ann_file: the annotation file; every chosen image has objects.
        image_dir: folder of the images.
        image_ids: which ones, in which order.
        scale: (long, short) edges that images must fit in.
        as_float: end with float images in [0, 1], as the reference does; else they stay uint8,
            which is less to write.
    """

    def __init__(
        self,
        ann_file: str,
        image_dir: str,
        image_ids: list[int],
        scale: tuple[int, int],
        as_float: bool,
    ):
        longest, shortest = max(scale), min(scale)
        moves = [v2.RandomShortestSize([shortest], longest), v2.RandomHorizontalFlip(0.5)]
        to_float = [v2.ToDtype(torch.float, scale=True)] if as_float else []
        boxes = [v2.ConvertBoundingBoxFormat("XYXY"), v2.SanitizeBoundingBoxes()]
        self.image_transform = v2.Compose([v2.ToImage(), *moves, *to_float, v2.ToPureTensor()])
        self._move, self._clean = v2.Compose(moves), v2.Compose([*boxes, v2.ToPureTensor()])
        everything = v2.Compose([v2.ToImage(), *moves, *to_float, *boxes, v2.ToPureTensor()])
        with redirect_stdout(StringIO()):  # pycocotools says that it reads the file
            self.files = CocoDetection(image_dir, ann_file, transforms=everything)
        self.files.ids = list(image_ids)
        for records in self.files.coco.imgToAnns.values():
            records[:] = [record for record in records if not record["iscrowd"]]
        self.samples = wrap_dataset_for_transforms_v2(self.files, target_keys=_KEYS)
        self._padding = GeneralizedRCNNTransform(shortest, longest, [0.0] * 3, [1.0] * 3)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """A transformed image with its boxes, labels and masks."""
        return self.samples[index]

    def read(self, index: int) -> Image.Image:
        """The decoded image."""
        return self.files._load_image(self.files.ids[index])

    def target(self, index: int, image: Image.Image) -> dict[str, Any]:
        """The transformed boxes, labels and masks of an image that was read already."""
        annotations = self.files._load_target(self.files.ids[index])
        target = self.samples._wrapper(index, (image, annotations))[1]
        # without labels, which would be taken for the image
        moved = self._move({"boxes": target["boxes"], "masks": target["masks"]})
        return self._clean({**target, **moved})

    def pad(self, images: list[Tensor]) -> Tensor:
        """The batch that torchvision's detectors make of (3, H, W) images themselves."""
        return self._padding.batch_images(images, size_divisible=32)
