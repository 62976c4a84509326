"""Names and shapes of the weights of MMDetection 3.x's models, from the naming rules alone.

The rules are those that follow from the reference's five state dicts, which a test holds them to;
nothing here builds a model.
"""

from __future__ import annotations

from typing import Any

Shapes = dict[str, list[int]]
Foreign = dict[str, Any]

_DEPTHS = {
    18: (1, (2, 2, 2, 2)),
    34: (1, (3, 4, 6, 3)),
    50: (4, (3, 4, 6, 3)),
    101: (4, (3, 4, 23, 3)),
    152: (4, (3, 8, 36, 3)),
}


def expected_state_dict(model: Foreign) -> Shapes:
    """All weights and buffers of a detector."""
    shapes = _prefixed("backbone", _resnet(model["backbone"]))
    if model.get("neck"):
        shapes |= _prefixed("neck", _fpn(model["neck"]))
    if "bbox_head" in model:
        return shapes | _prefixed("bbox_head", _retina(model["bbox_head"]))
    rpn = model["rpn_head"]
    shapes |= _prefixed("rpn_head", _fcos(rpn) if rpn["type"] == "FCOSHead" else _rpn(rpn))
    return shapes | _prefixed("roi_head", _roi(model["roi_head"]))


def _prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _norm(name: str, channels: int) -> Shapes:
    """Batch norm, whose names the four families share; its scale and shift may be frozen."""
    buffers = {f"{name}.num_batches_tracked": []}
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": [channels] for part in parts} | buffers


def _layer(name: str, weight: list[int], outputs: int | None = None) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": [outputs or weight[0]]}


def _conv(name: str, inputs: int, outputs: int, side: int = 3) -> Shapes:
    return _layer(name, [outputs, inputs, side, side])


def _resnet(cfg: Foreign) -> Shapes:
    shapes = {"conv1.weight": [64, 3, 7, 7], **_norm("bn1", 64)}
    inputs = 64
    for stage in range(cfg["num_stages"]):
        part, inputs = _stage(cfg, stage, inputs)
        shapes |= _prefixed(f"layer{stage + 1}", part)
    return shapes


def _stage(cfg: Foreign, stage: int, inputs: int) -> tuple[Shapes, int]:
    expansion, counts = _DEPTHS[cfg["depth"]]
    channels = 64 * 2**stage
    groups = cfg.get("groups", 1)
    width = channels if groups == 1 else channels * cfg["base_width"] // 64 * groups
    outputs = channels * expansion
    shapes: Shapes = {}
    for block in range(counts[stage]):
        own: Shapes = {}
        if expansion == 1:
            own |= {"conv1.weight": [channels, inputs, 3, 3], **_norm("bn1", channels)}
            own |= {"conv2.weight": [channels, channels, 3, 3], **_norm("bn2", channels)}
        else:
            own |= {"conv1.weight": [width, inputs, 1, 1], **_norm("bn1", width)}
            own |= {"conv2.weight": [width, width // groups, 3, 3], **_norm("bn2", width)}
            own |= {"conv3.weight": [outputs, width, 1, 1], **_norm("bn3", outputs)}
        if block == 0 and (stage > 0 or inputs != outputs):
            own |= {"downsample.0.weight": [outputs, inputs, 1, 1]}
            own |= _norm("downsample.1", outputs)
        shapes |= _prefixed(str(block), own)
        inputs = outputs
    return shapes, outputs


def _fpn(cfg: Foreign) -> Shapes:
    used, out = cfg["in_channels"][cfg.get("start_level", 0) :], cfg["out_channels"]
    shapes: Shapes = {}
    for i, channels in enumerate(used):
        shapes |= _conv(f"lateral_convs.{i}.conv", channels, out, 1)
        shapes |= _conv(f"fpn_convs.{i}.conv", out, out)
    extra = cfg.get("add_extra_convs", False)
    inputs = used[-1] if extra in (True, "on_input") else out
    for i in range(len(used), cfg["num_outs"] if extra else 0):
        shapes |= _conv(f"fpn_convs.{i}.conv", inputs, out)
        inputs = out
    return shapes


def _num_anchors(cfg: Foreign) -> int:
    scales = cfg.get("scales_per_octave") or len(cfg["scales"])
    return scales * len(cfg["ratios"])


def _rpn(cfg: Foreign) -> Shapes:
    count, width = _num_anchors(cfg["anchor_generator"]), cfg["feat_channels"]
    return {
        **_conv("rpn_conv", cfg["in_channels"], width),
        **_conv("rpn_cls", width, count, 1),
        **_conv("rpn_reg", width, 4 * count, 1),
    }


def _towers(cfg: Foreign, has_norm: bool) -> Shapes:
    shapes: Shapes = {}
    for tower in ("cls_convs", "reg_convs"):
        inputs = cfg["in_channels"]
        for i in range(cfg["stacked_convs"]):
            conv = _conv(f"{tower}.{i}.conv", inputs, cfg["feat_channels"])
            if has_norm:
                conv.pop(f"{tower}.{i}.conv.bias")
                conv |= {
                    f"{tower}.{i}.gn.{part}": [cfg["feat_channels"]] for part in ("weight", "bias")
                }
            shapes |= conv
            inputs = cfg["feat_channels"]
    return shapes


def _retina(cfg: Foreign) -> Shapes:
    count, width = _num_anchors(cfg["anchor_generator"]), cfg["feat_channels"]
    return {
        **_towers(cfg, has_norm=False),
        **_conv("retina_cls", width, count * cfg["num_classes"]),
        **_conv("retina_reg", width, count * 4),
    }


def _fcos(cfg: Foreign) -> Shapes:
    width = cfg["feat_channels"]
    return {
        **_towers(cfg, has_norm=True),
        **_conv("conv_cls", width, 1),
        **_conv("conv_reg", width, 4),
        **_conv("conv_centerness", width, 1),
        **{f"scales.{i}.scale": [] for i in range(len(cfg["strides"]))},
    }


def _roi(cfg: Foreign) -> Shapes:
    shapes: Shapes = {}
    if cfg.get("shared_head"):
        own = cfg["shared_head"]
        inputs = 64 * 2 ** (own["stage"] - 1) * _DEPTHS[own["depth"]][0]
        part, _ = _stage(own, own["stage"], inputs)
        shapes |= _prefixed(f"shared_head.layer{own['stage'] + 1}", part)
    boxes, masks = cfg["bbox_head"], cfg.get("mask_head")
    if isinstance(boxes, list):
        for i, head in enumerate(boxes):
            shapes |= _prefixed(f"bbox_head.{i}", _box_head(head))
            if masks:
                shapes |= _prefixed(f"mask_head.{i}", _mask_head(masks))
        return shapes
    shapes |= _prefixed("bbox_head", _box_head(boxes))
    return shapes | (_prefixed("mask_head", _mask_head(masks)) if masks else {})


def _box_head(cfg: Foreign) -> Shapes:
    classes, shapes = cfg["num_classes"], {}
    width = cfg["in_channels"]
    if cfg["type"] == "Shared2FCBBoxHead":
        width *= cfg["roi_feat_size"] ** 2
        for i in range(2):
            shapes |= _layer(f"shared_fcs.{i}", [cfg["fc_out_channels"], width])
            width = cfg["fc_out_channels"]
    boxes = 4 if cfg["reg_class_agnostic"] else 4 * classes
    return {
        **shapes,
        **_layer("fc_cls", [classes + 1, width]),
        **_layer("fc_reg", [boxes, width]),
    }


def _mask_head(cfg: Foreign) -> Shapes:
    shapes: Shapes = {}
    inputs, width = cfg["in_channels"], cfg["conv_out_channels"]
    for i in range(cfg["num_convs"]):
        shapes |= _conv(f"convs.{i}.conv", inputs, width)
        inputs = width
    shapes |= _layer("upsample", [inputs, width, 2, 2], width)
    return shapes | _conv("conv_logits", width, cfg["num_classes"], 1)
