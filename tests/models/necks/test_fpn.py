"""The pyramid with weights that can be followed by hand."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.necks import FPN


def _identity(in_channels: list[int], num_outs: int) -> FPN:
    """One output channel: laterals sum the input channels, the 3x3 convolutions do nothing."""
    fpn = FPN(in_channels, out_channels=1, num_outs=num_outs)
    with torch.no_grad():
        for conv in fpn.lateral_convs:
            conv.conv.weight.fill_(1)
        for conv in fpn.fpn_convs:
            conv.conv.weight.zero_()[:, :, 1, 1] = 1
    return fpn


def test_every_level_adds_what_is_above_it():
    fine, middle, coarse = (
        torch.full((1, 1, 4, 4), 1.0),
        torch.ones(1, 2, 2, 2),
        torch.ones(1, 3, 1, 1),
    )
    middle[0, 0, 0, 1] = 5
    outs = _identity([1, 2, 3], num_outs=3)([fine, middle, coarse])
    assert outs[2].tolist() == [[[[3]]]]
    assert outs[1].tolist() == [[[[5, 9], [5, 5]]]]
    assert outs[0].tolist() == [[[[6, 6, 10, 10], [6, 6, 10, 10], [6] * 4, [6] * 4]]]


def test_levels_above_the_last_take_every_second_pixel():
    last = torch.arange(9.0).reshape(1, 1, 3, 3)
    outs = _identity([1], num_outs=3)([last])
    assert outs[0].tolist() == last.tolist()
    assert outs[1].tolist() == [[[[0, 2], [6, 8]]]]
    assert outs[2].tolist() == [[[[0]]]]


def test_odd_sizes_fit():
    feats = [torch.ones(2, 4, 25, 42), torch.ones(2, 8, 13, 21), torch.ones(2, 16, 7, 11)]
    outs = FPN([4, 8, 16], out_channels=6, num_outs=5)(feats)
    sizes = [tuple(out.shape) for out in outs]
    assert sizes == [(2, 6, 25, 42), (2, 6, 13, 21), (2, 6, 7, 11), (2, 6, 4, 6), (2, 6, 2, 3)]


def test_names_are_those_of_released_checkpoints():
    names = set(FPN([4, 8], 6, num_outs=3).state_dict())
    assert names == {
        f"{kind}.{i}.conv.{part}"
        for kind in ("lateral_convs", "fpn_convs")
        for i in range(2)
        for part in ("weight", "bias")
    }


def test_input_is_not_changed():
    feats = [torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)]
    _identity([1, 1], num_outs=2)(feats)
    assert all(bool((feat == 1).all()) for feat in feats)


def test_too_few_outputs_and_another_number_of_maps_are_refused():
    with pytest.raises(ValueError, match="num_outs=1 is below the 2 in_channels"):
        FPN([4, 8], 6, num_outs=1)
    with pytest.raises(ValueError, match="FPN has 2 in_channels, got 1 maps"):
        FPN([4, 8], 6, num_outs=2)([torch.ones(1, 4, 4, 4)])


def test_levels_may_begin_above_the_first_map():
    fine, last = torch.ones(1, 1, 4, 4), torch.full((1, 1, 2, 2), 3.0)
    fpn = FPN([1, 1], out_channels=1, num_outs=1, start_level=1)
    assert len(fpn.lateral_convs) == 1
    assert torch.equal(fpn([fine, last])[0], FPN.forward(fpn, [fine * 5, last])[0])


@pytest.mark.parametrize(
    ("source", "channels"), [("on_input", 3), ("on_lateral", 1), ("on_output", 1)]
)
def test_extra_levels_are_convolutions_of_their_source(source, channels):
    fpn = FPN([2, 3], out_channels=1, num_outs=4, add_extra_convs=source)
    feats = [torch.randn(1, 2, 8, 8), torch.randn(1, 3, 4, 4)]
    outs = fpn(feats)
    assert [out.shape[-1] for out in outs] == [8, 4, 2, 1]
    lateral = fpn.lateral_convs[1](feats[1])
    sources = {"on_input": feats[1], "on_lateral": lateral, "on_output": outs[1]}
    extra = fpn.fpn_convs[2]
    assert extra.conv.in_channels == channels
    assert torch.equal(outs[2], extra(sources[source]))
    assert torch.equal(outs[3], fpn.fpn_convs[3](outs[2]))


def test_relu_comes_before_all_extra_convolutions_but_the_first():
    fpn = FPN([1], 1, num_outs=3, add_extra_convs="on_output", relu_before_extra_convs=True)
    outs = fpn([torch.randn(1, 1, 8, 8)])
    assert torch.equal(outs[1], fpn.fpn_convs[1](outs[0]))
    assert torch.equal(outs[2], fpn.fpn_convs[2](outs[1].relu()))


def test_an_unknown_source_of_extra_levels_is_told():
    with pytest.raises(ValueError, match="'on_input', 'on_lateral' or 'on_output', got True"):
        FPN([1], 1, num_outs=2, add_extra_convs=True)
