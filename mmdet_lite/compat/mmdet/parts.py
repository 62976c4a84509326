"""Small parts of models: losses, coders, assigners, samplers, anchors, suppression."""

from __future__ import annotations

from mmdet_lite.compat.mmdet.read import Native, Section


def loss(s: Section) -> Native | None:
    """A loss on classes, masks, deltas or boxes."""
    return s.dispatch(
        "loss",
        {
            "CrossEntropyLoss": _cross_entropy,
            "FocalLoss": _focal,
            "L1Loss": lambda s: {"type": "L1Loss", **_weight(s)},
            "SmoothL1Loss": lambda s: {"type": "SmoothL1Loss", **s.copy("beta"), **_weight(s)},
            "BalancedL1Loss": lambda s: {
                "type": "BalancedL1Loss",
                **s.copy("alpha", "gamma", "beta"),
                **_weight(s),
            },
            "IoULoss": _iou,
            "GIoULoss": _plain_box_loss,
            "DIoULoss": _plain_box_loss,
            "CIoULoss": _plain_box_loss,
            "BoundedIoULoss": _bounded_iou,
        },
    )


def _weight(s: Section) -> Native:
    s.expect("reduction", "mean")
    return {key: value for key, value in s.copy("loss_weight").items() if value != 1.0}


def _cross_entropy(s: Section) -> Native:
    kind = "CrossEntropyLoss"
    if s.take("use_sigmoid", False):
        kind = "BinaryCrossEntropyLoss"
    if s.take("use_mask", False):
        kind = "MaskCrossEntropyLoss"
    s.expect("class_weight", None)
    s.expect("ignore_index", None)
    s.expect("avg_non_ignore", False)
    return {"type": kind, **_weight(s)}


def _focal(s: Section) -> Native:
    s.expect("use_sigmoid", True)
    s.expect("activated", False)
    return {"type": "FocalLoss", **s.numbers("gamma", "alpha"), **_weight(s)}


def _iou(s: Section) -> Native:
    mode = "linear" if s.take("linear", False) else s.take("mode", "log")
    s.expect("eps", 1e-6)
    return {"type": "IoULoss", "mode": mode, **_weight(s)}


def _plain_box_loss(s: Section) -> Native:
    s.expect("eps", 1e-6, 1e-7)
    return {"type": s.type, **_weight(s)}


def _bounded_iou(s: Section) -> Native:
    s.expect("eps", 1e-3)
    return {"type": "BoundedIoULoss", **s.copy("beta"), **_weight(s)}


def coder(s: Section) -> Native | None:
    """A box coder."""
    return s.dispatch("box coder", {"DeltaXYWHBBoxCoder": _delta_coder})


def _delta_coder(s: Section) -> Native:
    s.expect("clip_border", True)
    s.expect("add_ctr_clamp", False)
    s.has_no_effect("only with add_ctr_clamp", "ctr_clamp")
    means = list(s.take("target_means", (0.0, 0.0, 0.0, 0.0)))
    stds = list(s.take("target_stds", (1.0, 1.0, 1.0, 1.0)))
    native: Native = {"type": "DeltaXYWHBBoxCoder"}
    if any(means):
        native["target_means"] = means
    if stds != [1.0] * 4:
        native["target_stds"] = stds
    return native


def assigner(s: Section) -> Native | None:
    """An assigner."""
    return s.dispatch("assigner", {"MaxIoUAssigner": _max_iou_assigner})


def _max_iou_assigner(s: Section) -> Native:
    s.has_no_effect("memory is bounded otherwise", "gpu_assign_thr")
    s.expect("perm_repeat_gt_cfg", None)
    calculator = s.section("iou_calculator")
    if calculator is not None:
        if calculator.type != "BboxOverlaps2D":
            calculator.problem(
                "type", f"is {calculator.type!r}, only 'BboxOverlaps2D' is supported"
            )
        calculator.expect("scale", 1.0)
        calculator.expect("dtype", None)
    native: Native = {"type": "MaxIoUAssigner", **s.copy("pos_iou_thr", "neg_iou_thr")}
    defaults = {
        "min_pos_iou": 0.0,
        "match_low_quality": True,
        "gt_max_assign_all": True,
        "ignore_iof_thr": -1,
        "ignore_wrt_candidates": True,
    }
    return native | {
        key: s.take(key, value) for key, value in defaults.items() if s.take(key, value) != value
    }


def sampler(s: Section) -> Native | None:
    """A sampler that takes a fixed number of boxes."""
    return s.dispatch("sampler", {"RandomSampler": _random_sampler, "OHEMSampler": _random_sampler})


def _random_sampler(s: Section) -> Native:
    s.expect("context", None)
    s.expect("loss_key", "loss_cls")
    native: Native = {"type": s.type, "num": s.require("num")}
    native["pos_fraction"] = s.require("pos_fraction")
    if (bound := s.take("neg_pos_ub", -1)) != -1:
        native["neg_pos_ub"] = bound
    if s.take("add_gt_as_proposals", True):
        native["add_gt_as_proposals"] = True
    return native


def anchors(s: Section) -> Native | None:
    """An anchor generator."""
    return s.dispatch("anchor generator", {"AnchorGenerator": _anchor_generator})


def _anchor_generator(s: Section) -> Native:
    s.expect("centers", None)
    s.has_no_effect("boxes are tensors", "use_box_type")
    keys = ("strides", "ratios", "scales", "octave_base_scale", "scales_per_octave")
    native = {k: v for k, v in s.copy(*keys, "base_sizes").items() if v is not None}
    optional = {"scale_major": True, "center_offset": 0.0}
    given = {key: s.take(key, value) for key, value in optional.items()}
    native |= {key: value for key, value in given.items() if value != optional[key]}
    return {"type": "AnchorGenerator", **native}


def nms(s: Section | None) -> Native | None:
    """How detections are suppressed."""
    if s is None:
        return None
    return s.dispatch("suppression", {"nms": _hard_nms, "soft_nms": _soft_nms})


def nms_iou_thr(s: Section | None) -> float | None:
    """The threshold of a plain suppression, which is all that proposals have."""
    if s is None:
        return None
    native = s.dispatch("suppression of proposals", {"nms": _hard_nms})
    if native and native.pop("class_agnostic", False):
        s.problem("class_agnostic", "is True, but proposals are suppressed level by level")
    return native["iou_thr"] if native else None


def _shared_nms(s: Section) -> Native:
    s.has_no_effect("an implementation detail", "split_thr", "max_num")
    return {"class_agnostic": True} if s.take("class_agnostic", False) else {}


def _hard_nms(s: Section) -> Native:
    return {"type": "NMS", "iou_thr": s.take("iou_threshold", 0.5), **_shared_nms(s)}


def _soft_nms(s: Section) -> Native:
    native = {"type": "SoftNMS", "iou_thr": s.take("iou_threshold", 0.3)}
    return native | s.copy("sigma", "min_score", "method") | _shared_nms(s)


def norm(s: Section, key: str = "norm_cfg") -> Native | None:
    """A normalisation in mmcv's form, or None for plain batch norm (or none at all)."""
    given = s.take(key)
    if given is None:
        return None
    given = dict(given)
    given["type"] = str(given.get("type", "")).removeprefix("mmcv.")
    if given["type"] in ("SyncBN", "MMSyncBN"):
        s.notes.sync_bn = True
        given["type"] = "BN"
    trained = given.get("requires_grad", True)
    if given["type"] in ("BN", "BN2d") and set(given) <= {"type", "requires_grad"} and trained:
        return {"type": "BN"}
    if trained:
        given.pop("requires_grad", None)
    return given
