"""NanoDet-Plus: a small detector, whose training a larger branch guides.

Letters: B images, L levels, C channels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.models.dense_heads.nanodet_plus_head import NanoDetOutput, NanoDetPlusHead
from mmdet_lite.models.dense_heads.simple_conv_head import SimpleConvHead
from mmdet_lite.models.detectors.single_stage import SingleStageDetector
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch


@MODELS.register_module()
class NanoDetPlus(SingleStageDetector):
    """A one-stage detector with a second neck and head that exist for training only.

    The second neck has the structure of the first and starts with its weights. The second head sees
    the maps of both. Its predictions decide which points are trained, on what ("assign guidance").

    Args:
        normalizer: from pixels to network input.
        backbone: images to feature maps.
        neck: feature maps to L feature maps of C channels.
        bbox_head: the head that predicts.
        aux_head: the head that guides, of 2 * C channels.
        detach_epoch: from this epoch on, counted from 0, the guiding branch no longer trains
            backbone and neck.
        head_assigns_after_detach: from then on the head's own predictions decide; False: always
            those of the guide, as in the released code.

    Raises:
        ValueError: ``detach_epoch`` is negative, or the heads do not belong together.
    """

    training_only = ("aux_neck", "aux_head")

    def __init__(
        self,
        normalizer: nn.Module,
        backbone: nn.Module,
        neck: nn.Module,
        bbox_head: NanoDetPlusHead,
        aux_head: SimpleConvHead,
        detach_epoch: int = 10,
        head_assigns_after_detach: bool = False,
    ):
        super().__init__(normalizer, backbone, bbox_head, neck)
        check_not_negative(self, detach_epoch=detach_epoch)
        _check_heads(bbox_head, aux_head)
        self.aux_neck = copy.deepcopy(neck)
        self.aux_head = aux_head
        self.detach_epoch = detach_epoch
        self.head_assigns_after_detach = head_assigns_after_detach

    def regions(self) -> list[tuple[nn.Module, str]]:
        """See :meth:`Detector.regions`."""
        return [*super().regions(), (self.aux_neck, "forward"), (self.aux_head, "forward")]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch by name, scalars; those of the guide begin with 'aux_'."""
        maps = self.backbone(self.normalizer(batch.images, batch.shapes))
        feats = self.neck(maps)
        output = self.bbox_head(feats)
        detach = batch.epoch >= self.detach_epoch
        if detach:
            maps, feats = [m.detach() for m in maps], [f.detach() for f in feats]
        aux = NanoDetOutput(*self._guide(maps, feats), output.priors)
        aux_assigns = not (detach and self.head_assigns_after_detach)
        return self.bbox_head.loss(output, batch, aux, aux_assigns)

    def _guide(self, maps: Sequence[Tensor], feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The second head's output on the maps of the first neck and of its own."""
        pairs = zip(feats, self.aux_neck(maps), strict=True)
        return self.aux_head([torch.cat(pair, dim=1) for pair in pairs])


def _check_heads(head: NanoDetPlusHead, aux_head: SimpleConvHead) -> None:
    """The guide predicts the same as the head, from the maps of two necks."""
    if aux_head.num_classes != head.num_classes:
        raise ValueError(
            f"NanoDetPlus: bbox_head.num_classes is {head.num_classes} and aux_head.num_classes "
            f"{aux_head.num_classes}; set both to the number of classes of the data"
        )
    pairs = {
        "num_bins": (aux_head.num_bins, head.bbox_coder.num_bins, "as in bbox_head"),
        "in_channels": (aux_head.in_channels, 2 * head.in_channels, "twice that of bbox_head"),
    }
    for name, (of_aux, wanted, why) in pairs.items():
        if of_aux != wanted:
            raise ValueError(
                f"NanoDetPlus: aux_head.{name} is {of_aux}, but must be {wanted}, {why}"
            )
