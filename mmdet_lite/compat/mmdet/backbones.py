"""Backbones and necks."""

from __future__ import annotations

from mmdet_lite.compat.mmdet.parts import norm
from mmdet_lite.compat.mmdet.read import Native, Section

_RANDOM = "weights that are not loaded begin as this package begins them"


def backbone(s: Section) -> Native | None:
    """A backbone."""
    return s.dispatch("backbone", {"ResNet": _resnet, "ResNeXt": _resnext})


def _resnet(s: Section) -> Native:
    indices = tuple(s.take("out_indices", (0, 1, 2, 3)))
    s.expect("num_stages", max(indices) + 1)
    s.expect("in_channels", 3)
    s.expect("stem_channels", None, s.take("base_channels", 64))
    for key in ("deep_stem", "avg_down"):
        s.expect(key, False)
    s.expect("plugins", None)
    s.is_otherwise(_RANDOM, False, keys=["zero_init_residual"])
    native: Native = {"type": "ResNet", "depth": s.require("depth")}
    defaults = {
        "base_channels": 64,
        "frozen_stages": -1,
        "style": "pytorch",
        "conv_cfg": None,
    }
    native |= {k: s.take(k, v) for k, v in defaults.items() if s.take(k, v) != v}
    if indices != (0, 1, 2, 3):
        native["out_indices"] = list(indices)
    native["norm_eval"] = s.take("norm_eval", True)
    for key, plain in (("strides", (1, 2, 2, 2)), ("dilations", (1, 1, 1, 1))):
        given = tuple(s.take(key, plain))
        if given != plain[: len(given)]:
            native[key] = list(given)
    if (norm_cfg := norm(s)) not in (None, {"type": "BN"}):
        native["norm_cfg"] = norm_cfg
    if s.take("with_cp", False):
        native["activation_checkpointing"] = True
    return native | _deformable(s) | {"pretrained": pretrained(s)}


def _resnext(s: Section) -> Native:
    return _resnet(s) | {"groups": s.take("groups", 1), "base_width": s.take("base_width", 4)}


def _deformable(s: Section) -> Native:
    stages = [i for i, given in enumerate(s.take("stage_with_dcn", ())) if given]
    dcn = s.section("dcn")
    if dcn is None or not stages:
        return {}
    if dcn.type not in ("DCN", "DCNv2"):
        dcn.problem("type", f"is {dcn.type!r}, only 'DCN' and 'DCNv2' are supported")
    dcn.expect("fallback_on_stride", False)
    return {
        "dcn_cfg": {"type": dcn.type, "deform_groups": dcn.take("deform_groups", 1)},
        "dcn_stages": stages,
    }


def pretrained(s: Section) -> str | None:
    """The weights that a part begins with, from ``init_cfg`` or the older ``pretrained``."""
    older = s.take("pretrained")
    given = s.take("init_cfg")
    if given is None or isinstance(given, (list, tuple)):
        if given:
            s.has_no_effect(_RANDOM, "init_cfg")
        return older
    init = s.section("init_cfg")
    if init is None:  # no dict, which is a problem by now
        return older
    if init.type != "Pretrained":
        s.has_no_effect(_RANDOM, "init_cfg")
        init.has_no_effect(_RANDOM, *init)
        return older
    init.has_no_effect("the names are told apart by themselves", "prefix", "map_location")
    return init.require("checkpoint")


def no_init(s: Section) -> None:
    """Heads and necks begin as this package begins them, which is as MMDetection does."""
    s.has_no_effect(_RANDOM, "init_cfg")


def neck(s: Section | None) -> Native | None:
    """A neck; None where there is none."""
    return None if s is None else s.dispatch("neck", {"FPN": _fpn})


def _fpn(s: Section) -> Native:
    no_init(s)
    s.expect("end_level", -1, len(s.take("in_channels", ())) - 1)
    s.expect("no_norm_on_lateral", False)
    s.expect("act_cfg", None)
    s.expect("upsample_cfg", {"mode": "nearest"})
    native: Native = {"type": "FPN"}
    native |= {key: s.require(key) for key in ("in_channels", "out_channels", "num_outs")}
    if start := s.take("start_level", 0):
        native["start_level"] = start
    extra = s.take("add_extra_convs", False)
    if extra:
        native["add_extra_convs"] = "on_input" if extra is True else extra
    if s.take("relu_before_extra_convs", False):
        native["relu_before_extra_convs"] = True
    if (norm_cfg := norm(s)) is not None:
        native["norm_cfg"] = norm_cfg
    if (conv_cfg := s.take("conv_cfg")) is not None:
        native["conv_cfg"] = conv_cfg
    return native
