"""ShuffleNetV2 (Ma et al. 2018) with torchvision's layers and parameter names.

Letters: B images, Ci channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn
from torchvision.models import get_model

from mmdet_lite.models.backbones.pretrained import load_pretrained_backbone
from mmdet_lite.models.backbones.residual_blocks import init_random
from mmdet_lite.registry import MODELS

_NAMES = {
    0.5: "shufflenet_v2_x0_5",
    1.0: "shufflenet_v2_x1_0",
    1.5: "shufflenet_v2_x1_5",
    2.0: "shufflenet_v2_x2_0",
}


@MODELS.register_module()
class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 without its last convolution and the classifier.

    Args:
        width: factor on the channels, 0.5, 1.0, 1.5 or 2.0. C3, C4 and C5 have 48, 96, 192;
            116, 232, 464; 176, 352, 704; or 244, 488, 976 channels (table 5 of the paper).
        out_indices: maps that are returned, 0 (C3, stride 8) to 2 (C5, stride 32). Later stages
            are not built.
        act_cfg: activation, in mmcv's form; None: ReLU, which the ImageNet weights were trained
            with.
        pretrained: what :meth:`init_weights` loads: path of a state dict,
            'torchvision://shufflenet_v2_x1_0' or the like, a URL, or None for random weights.

    Raises:
        ValueError: an unknown width.
    """

    def __init__(
        self,
        width: float = 1.0,
        out_indices: Sequence[int] = (0, 1, 2),
        act_cfg: dict | None = None,
        pretrained: str | None = None,
    ):
        super().__init__()
        if width not in _NAMES:
            raise ValueError(f"ShuffleNetV2: width must be 0.5, 1.0, 1.5 or 2.0, got {width!r}")
        self.out_indices = tuple(out_indices)
        self.pretrained = pretrained
        network = get_model(_NAMES[width], weights=None)
        self.conv1 = network.conv1
        self.maxpool = network.maxpool
        for stage in range(2, max(self.out_indices) + 3):
            setattr(self, f"stage{stage}", getattr(network, f"stage{stage}"))
        init_random(self)
        if act_cfg is not None:
            _replace_relus(self, act_cfg)

    def init_weights(self) -> None:
        """Load the pretrained weights, if there are any; see ``load_pretrained_backbone``."""
        if self.pretrained is not None:
            load_pretrained_backbone(self, self.pretrained)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to the chosen maps (B, Ci, H / stride, W / stride), finest first."""
        x = self.maxpool(self.conv1(x))
        outs = []
        for index in range(max(self.out_indices) + 1):
            x = getattr(self, f"stage{index + 2}")(x)
            if index in self.out_indices:
                outs.append(x)
        return outs


def _replace_relus(network: nn.Module, act_cfg: dict) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, build_activation_layer({"inplace": True, **act_cfg}))
