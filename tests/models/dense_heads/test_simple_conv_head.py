"""The head that guides: towers shared by the levels, and a factor on the distances of each."""

from __future__ import annotations

import torch

from mmdet_lite.models.dense_heads import SimpleConvHead


def test_levels_share_towers_and_have_a_scale_each():
    torch.manual_seed(0)
    head = SimpleConvHead(3, 8, num_levels=2, num_bins=4, feat_channels=8, num_groups=2)
    head.scales[1].scale.data.fill_(2.0)
    feat = torch.randn(2, 8, 4, 6)
    logits, sides = head([feat, feat])
    assert logits.shape == (2, 48, 3) and sides.shape == (2, 48, 16)
    torch.testing.assert_close(logits[:, :24], logits[:, 24:])
    torch.testing.assert_close(sides[:, :24] * 2, sides[:, 24:])
    hidden = head.cls_convs(feat)
    torch.testing.assert_close(logits[:, 7], head.conv_cls(hidden)[:, :, 1, 1])
