"""ResNet equals torchvision's; what is frozen stays as it is."""

from __future__ import annotations

import pytest
import torch
import torchvision

from mmdet_lite.models.backbones import ResLayer, ResNet


def _image(size: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def _torchvision(depth: int) -> torch.nn.Module:
    torch.manual_seed(depth)
    return getattr(torchvision.models, f"resnet{depth}")(weights=None)


def _features(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    features = []
    for i in range(1, 5):
        x = getattr(model, f"layer{i}")(x)
        features.append(x)
    return features


def _small(**settings) -> ResNet:
    torch.manual_seed(0)
    return ResNet(**(dict(depth=18, base_channels=4) | settings))


def _outputs_and_gradients(model: ResNet) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    outs = model(_image(32))
    sum(out.square().mean() for out in outs).backward()
    return outs, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_parameters_have_the_names_and_shapes_of_torchvision(depth):
    with torch.device("meta"):
        ours, theirs = ResNet(depth), _torchvision(depth)
    expected = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == expected


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("training", [True, False])
def test_features_equal_torchvision_exactly(depth, training):
    theirs, ours = _torchvision(depth).train(training), ResNet(depth, norm_eval=False)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    ours.train(training)
    with torch.no_grad():
        outs, expected = ours(_image()), _features(theirs, _image())
    assert [tuple(out.shape[-2:]) for out in outs] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    for out, feature in zip(outs, expected, strict=True):
        assert torch.equal(out, feature)


def test_caffe_style_strides_in_the_first_convolution():
    def strides(model: ResNet) -> list[int]:
        block = model.layer2[0]
        return [conv.stride[0] for conv in (block.conv1, block.conv2, block.downsample[0])]

    caffe = _small(depth=50, style="caffe")
    assert strides(caffe) == [2, 1, 2]
    assert strides(_small(depth=50)) == [1, 2, 2]
    assert [out.shape[-1] for out in caffe(_image(32))] == [8, 4, 2, 1]


def test_only_the_chosen_stages_are_built_and_returned():
    model = _small(out_indices=(0, 2))
    assert [tuple(out.shape[1:]) for out in model(_image(32))] == [(4, 8, 8), (16, 2, 2)]
    assert not hasattr(model, "layer4")
    complete = _small()
    model.load_state_dict(complete.state_dict(), strict=False)
    for ours, theirs in zip(model(_image(32)), complete(_image(32))[::2], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("frozen_stages", "frozen"),
    [(-1, set()), (0, {"conv1", "bn1"}), (2, {"conv1", "bn1", "layer1", "layer2"})],
)
def test_frozen_stages_are_not_trained_and_keep_their_statistics(frozen_stages, frozen):
    model = _small(frozen_stages=frozen_stages, norm_eval=False).train()
    fixed = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert fixed == frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _outputs_and_gradients(model)
    after = model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"} - frozen - {"conv1"}
    assert all((p.grad is None) == (not p.requires_grad) for p in model.parameters())


def test_norm_eval_keeps_statistics_but_trains_parameters():
    model = _small(norm_eval=True).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    _, gradients = _outputs_and_gradients(model)
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())
    assert float(gradients["layer1.0.bn1.weight"].abs().sum()) > 0
    assert model.training
    assert not model.layer3[0].bn1.training


def test_modes_can_be_switched_back_and_forth():
    model = _small(frozen_stages=1, norm_eval=False)
    assert not model.eval().layer2[0].bn1.training
    assert model.train().layer2[0].bn1.training
    assert not model.layer1[0].bn1.training
    assert not model.bn1.training


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("norm_eval", [True, False])
def test_activation_checkpointing_gives_the_same_gradients_and_statistics(depth, norm_eval):
    settings = dict(depth=depth, norm_eval=norm_eval, frozen_stages=1)
    plain = _small(**settings).train()
    saving = _small(**settings, activation_checkpointing=True).train()
    expected, gradients = _outputs_and_gradients(plain)
    outs, recomputed = _outputs_and_gradients(saving)
    for out, other in zip(outs, expected, strict=True):
        assert torch.equal(out, other)
    for name, gradient in gradients.items():
        assert (gradient is None) == (recomputed[name] is None), name
        assert gradient is None or torch.equal(gradient, recomputed[name]), name
    statistics = dict(plain.named_buffers())
    for name, value in saving.named_buffers():
        assert name.endswith("num_batches_tracked") or torch.equal(value, statistics[name]), name
    assert saving.layer2[0].bn1.momentum == 0.1


def test_activation_checkpointing_can_be_compiled():
    settings = dict(depth=18, out_indices=(0,))
    plain, saving = _small(**settings), _small(**settings, activation_checkpointing=True)
    expected, gradients = _outputs_and_gradients(plain.train())
    saving.train().compile(fullgraph=True, backend="aot_eager")
    outs, recomputed = _outputs_and_gradients(saving)
    torch.testing.assert_close((outs, recomputed), (expected, gradients))
    for (name, value), other in zip(saving.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(value, other, msg=name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(depth=51), r"depth must be one of \[18, 34, 50, 101, 152\], got 51"),
        (dict(style="tf"), "style must be 'pytorch' or 'caffe', got 'tf'"),
        (dict(frozen_stages=5), r"frozen_stages must be in -1..4, got 5"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        _small(**settings)


def test_resnext_equals_torchvision_exactly():
    torch.manual_seed(0)
    theirs = torchvision.models.resnext50_32x4d(weights=None).eval()
    ours = ResNet(50, groups=32, base_width=4).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    with torch.no_grad():
        outs, expected = ours(_image()), _features(theirs, _image())
    for out, feature in zip(outs, expected, strict=True):
        assert torch.equal(out, feature)


def test_width_of_a_resnext_is_that_of_its_paper():
    with torch.device("meta"):
        model = ResNet(101, groups=64, base_width=4)
    assert tuple(model.layer1[0].conv2.weight.shape) == (256, 4, 3, 3)
    assert tuple(model.layer4[0].conv2.weight.shape) == (2048, 32, 3, 3)


def test_dilation_keeps_the_size_and_widens_the_view():
    model = _small(depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    assert [out.shape[-1] for out in model(_image())] == [16, 8, 4, 4]
    assert all(block.conv2.dilation == (2, 2) for block in model.layer4)
    assert all(block.conv1.stride == (1, 1) for block in model.layer4)
    assert tuple(model.layer4[0].downsample[0].stride) == (1, 1)


def test_norms_have_the_names_of_their_kind():
    model = _small(depth=50, norm_cfg={"type": "GN", "num_groups": 2})
    names = dict(model.named_modules())
    assert isinstance(names["gn1"], torch.nn.GroupNorm)
    assert isinstance(names["layer1.0.gn3"], torch.nn.GroupNorm)
    assert isinstance(names["layer1.0.downsample.1"], torch.nn.GroupNorm)
    assert not any("bn" in name for name in names)
    assert all(out.isfinite().all() for out in model(_image()))


def test_norms_that_are_not_trained():
    model = _small(norm_cfg={"type": "BN", "requires_grad": False})
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any("bn" in name or "downsample.1" in name for name in trained)
    assert "layer1.0.conv1.weight" in trained


def test_standardised_weights_do_not_depend_on_their_scale():
    model = _small(conv_cfg={"type": "ConvWS"}, norm_cfg={"type": "GN", "num_groups": 2})
    before = model(_image())[3]
    with torch.no_grad():
        model.layer2[0].conv1.weight.mul_(3).add_(1)
    torch.testing.assert_close(model(_image())[3], before, rtol=1e-3, atol=1e-4)


def test_groups_and_deformable_convolutions_need_bottlenecks():
    with pytest.raises(ValueError, match="need a depth of 50 or more, got 18"):
        _small(groups=32)
    with pytest.raises(ValueError, match="need a depth of 50 or more, got 34"):
        _small(depth=34, dcn_cfg={"type": "DCN"})


def test_a_stage_alone_equals_that_of_the_network():
    network = _small(depth=50, base_channels=64, style="caffe")
    stage = ResLayer(50, stage=3, style="caffe")
    part = {k: v for k, v in network.state_dict().items() if k.startswith("layer4.")}
    stage.load_state_dict(part)
    x = torch.randn(3, 1024, 14, 14, generator=torch.Generator().manual_seed(0))
    network.eval()
    assert torch.equal(stage.eval()(x), network.layer4(x))
    assert stage(x).shape == (3, 2048, 7, 7)
    assert not any(m.training for m in stage.train().modules() if hasattr(m, "running_mean"))


def test_a_stage_begins_with_its_part_of_the_pretrained_weights(tmp_path):
    network = ResNet(18)
    torch.save(network.state_dict(), tmp_path / "r18.pth")
    stage = ResLayer(18, stage=3, pretrained=str(tmp_path / "r18.pth"))
    stage.init_weights()
    assert torch.equal(stage.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
