"""Random images with objects, the same for every contender.

Letters: B images, G objects an image, H, W size of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta


@dataclass(frozen=True)
class InputSize:
    """How much there is to compute.

    Attributes:
        batch: images.
        height, width: of each.
        objects: ground truths of each. As they join the proposals, so many RoIs are positive, up
            to the sampler's limit.
    """

    batch: int = 2
    height: int = 480
    width: int = 640
    objects: int = 20

    def __str__(self) -> str:
        return f"{self.batch} x {self.height} x {self.width}, {self.objects} objects"


def random_batch(size: InputSize, num_classes: int, with_masks: bool, seed: int = 0) -> Batch:
    """Noise with boxes of 32 pixels and more a side and elliptic masks.

    Args:
        size: of the batch.
        num_classes: K.
        with_masks: add packed bitmaps (B, G, H, W).
        seed: of everything.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    shape = (size.batch, size.objects)
    limit = torch.tensor([size.width, size.height]).float()
    sides = 32 + uniform(*shape, 2) * (limit / 2 - 32).clamp(min=0)
    corner = uniform(*shape, 2) * (limit - sides).clamp(min=0)
    boxes = torch.cat([corner, torch.minimum(corner + sides, limit)], dim=-1)
    padded = tuple(-(-side // 32) * 32 for side in (size.height, size.width))
    images = torch.zeros(size.batch, 3, *padded, dtype=torch.uint8)
    pixels = (size.batch, 3, size.height, size.width)
    images[..., : size.height, : size.width] = torch.randint(
        256, pixels, generator=generator, dtype=torch.uint8
    )
    gt = GroundTruth(
        boxes=boxes,
        labels=torch.randint(num_classes, shape, generator=generator),
        valid=torch.ones(shape, dtype=torch.bool),
        ignore_boxes=torch.zeros(size.batch, 1, 4),
        ignore_valid=torch.zeros(size.batch, 1, dtype=torch.bool),
        masks=PackedBitmaps.pack(_ellipses(boxes, padded)) if with_masks else None,
    )
    picture = (size.height, size.width)
    return Batch(
        images=images,
        shapes=torch.tensor([picture] * size.batch),
        pad_shapes=torch.tensor([padded] * size.batch),
        keys=torch.arange(size.batch) + 1,
        gt=gt,
        metas=[ImageMeta(i, f"image {i}", i, i, picture, picture) for i in range(size.batch)],
    )


def _ellipses(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, G, 4) to (B, G, H, W) uint8."""
    y, x = (torch.arange(side) + 0.5 for side in size)
    x1, y1, x2, y2 = (edge[..., None] for edge in boxes.unbind(-1))
    across = ((2 * x - x1 - x2) / (x2 - x1)).square()  # (B, G, W)
    down = ((2 * y - y1 - y2) / (y2 - y1)).square()
    return (down[..., :, None] + across[..., None, :] <= 1).to(torch.uint8)
