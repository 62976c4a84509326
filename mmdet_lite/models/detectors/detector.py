"""What all detectors share. Letters: B images, L levels, C channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections


@MODELS.register_module()
class ImageNormalizer(nn.Module):
    """Subtract a mean, divide by a standard deviation, keep the padding at zero.

    Args:
        mean, std: three values each, on the scale 0..255, in the channel order of the output.
        to_bgr: swap the channels of the RGB input (weights that come from caffe).

    Raises:
        ValueError: not three values.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_bgr: bool = False):
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != 3:
                raise ValueError(f"ImageNormalizer: {name} needs three values, got {values!r}")
        self.to_bgr = to_bgr
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, shapes: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or float and (B, 2) picture shapes to (B, 3, H, W) float32."""
        if self.to_bgr:
            images = images.flip(1)
        images = (images.float() - self.mean) / self.std
        height, width = images.shape[-2:]
        below = torch.arange(height, device=images.device) >= shapes[:, :1]  # (B, H)
        beside = torch.arange(width, device=images.device) >= shapes[:, 1:]  # (B, W)
        return images.masked_fill_(below[:, None, :, None] | beside[:, None, None, :], 0)


class Detector(nn.Module):
    """From images to feature maps, and which of the two public verbs a call means.

    Args:
        normalizer: from pixels to network input.
        backbone: images to feature maps.
        neck: feature maps to L feature maps; None: the backbone's.
    """

    training_only: tuple[str, ...] = ()  # parts that take no part in prediction

    def __init__(self, normalizer: nn.Module, backbone: nn.Module, neck: nn.Module | None):
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        self.neck = neck

    def init_weights(self) -> None:
        """Load the backbone's pretrained weights; called before training from scratch only."""
        self.backbone.init_weights()

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        rows = {}
        for name, module in self.named_modules():
            if module is not self and hasattr(module, "class_rows"):
                rows |= {f"{name}.{key}": value for key, value in module.class_rows().items()}
        return rows

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that predictions depend on."""
        for name, parameter in self.named_parameters():
            if name.partition(".")[0] not in self.training_only:
                yield parameter

    def regions(self) -> list[tuple[nn.Module, str]]:
        """Modules, and the method of each that can be compiled: shapes follow from the images'.

        A dense head has such a method apart from ``forward``, as its cache of priors cannot be.
        """
        parts = [self.backbone] if self.neck is None else [self.backbone, self.neck]
        heads = [part for part in self.children() if hasattr(part, "run_layers")]
        return [(part, "forward") for part in parts] + [(head, "run_layers") for head in heads]

    def extract(self, batch: Batch) -> Sequence[Tensor]:
        """L feature maps (B, C, Hi, Wi)."""
        feats = self.backbone(self.normalizer(batch.images, batch.shapes))
        return feats if self.neck is None else self.neck(feats)

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """:meth:`loss` in training mode, :meth:`predict` in evaluation mode."""
        return self.loss(batch) if self.training else self.predict(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch by name, scalars; what has no 'loss' in its name is for the log."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        """Detections in the coordinates of the network input."""
        feats = self.extract(batch)
        return self.predict_masks(feats, self.predict_boxes(feats, batch))

    def predict_boxes(self, feats: Sequence[Tensor], batch: Batch) -> Detections:
        """The first half of :meth:`predict`: detections without masks.

        Args:
            feats: of :meth:`extract`.
            batch: images and their shapes.
        """
        raise NotImplementedError

    def predict_masks(self, feats: Sequence[Tensor], detections: Detections) -> Detections:
        """The second half: detections with masks; as they are if there is no mask branch.

        Args:
            feats: of :meth:`extract`.
            detections: boxes and labels, which may come from elsewhere than from ``feats``.
        """
        return detections
