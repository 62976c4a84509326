"""Data sets, pipelines, loaders and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from mmdet_lite.compat.mmdet.read import Native, Section
from mmdet_lite.data.formats.voc import VOC_CLASSES

_READ_HERE = "files are read from disk"
_LOADED = "the data set loads images and annotations itself"
_PACKED = "batches carry all of it"
_ALWAYS = "always done"


@dataclass
class Pipeline:
    """Transforms, and what the loading steps among them say.

    Attributes:
        transforms: native ones.
        with_masks: whether masks are loaded.
        polygons: whether they stay polygons (``poly2mask=False``).
    """

    transforms: list[Native] = field(default_factory=list)
    with_masks: bool = False
    polygons: bool = False


def train_data(s: Section) -> tuple[Native, Pipeline]:
    """``train_dataloader``; gives ``train_data`` and the pipeline of its data set."""
    native, pipeline = _loader(s, is_train=True)
    sampler = s.section_or_empty("sampler")
    if sampler.type not in ("DefaultSampler", "InfiniteSampler", ""):
        sampler.problem(
            "type", f"is {sampler.type!r}; 'DefaultSampler' and 'InfiniteSampler' are supported"
        )
    sampler.expect("shuffle", True)
    sampler.has_no_effect("the run's own seed is used", "seed")
    filled = "the last batch is filled up from the epoch's beginning"
    sampler.is_otherwise(filled, True, keys=["round_up"])
    s.is_otherwise("every image is shown once an epoch", False, keys=["drop_last"])
    batches = s.section("batch_sampler")
    grouped = batches is not None and batches.type == "AspectRatioBatchSampler"
    if batches is not None:
        batches.is_otherwise("every image is shown once an epoch", False, keys=["drop_last"])
        if batches.type not in ("AspectRatioBatchSampler", "BatchSampler"):
            batches.problem(
                "type", f"is {batches.type!r}, only 'AspectRatioBatchSampler' is supported"
            )
    if not grouped:
        native["group_by_aspect"] = False
    return native, pipeline


def eval_data(s: Section, with_masks: bool) -> Native:
    """``val_dataloader`` or ``test_dataloader``; masks are needed where they are evaluated."""
    native, _ = _loader(s, is_train=False)
    s.has_no_effect("the images are shared out exactly, in their order", "sampler", "drop_last")
    s.expect("batch_sampler", None)
    for one in _innermost(native["dataset"]):
        one.pop("with_masks", None)
        if with_masks:
            one["with_masks"] = True
    return native


def _loader(s: Section, is_train: bool) -> tuple[Native, Pipeline]:
    why = "the loader is this package's"
    s.has_no_effect(why, "persistent_workers", "pin_memory", "prefetch_factor", "collate_fn")
    s.has_no_effect(why, "worker_init_fn", "timeout", "multiprocessing_context")
    pipeline = Pipeline()
    native: Native = {
        "batch_size": s.take("batch_size", 1),
        "num_workers": s.take("num_workers", 0),
        "dataset": dataset(s.section_or_empty("dataset"), pipeline, is_train),
    }
    return native, pipeline


def dataset(s: Section, pipeline: Pipeline, is_train: bool) -> Native | None:
    """A data set, or one of those that wrap others.

    Args:
        s: the data set.
        pipeline: is filled with what the innermost data set's says.
        is_train: whether images may be filtered.
    """

    def nested(s: Section) -> Native | None:
        return dataset(s.section_or_empty("dataset"), pipeline, is_train)

    def repeat(s: Section) -> Native:
        s.has_no_effect(_ALWAYS, "lazy_init")
        return {"type": "RepeatDataset", "times": s.require("times"), "dataset": nested(s)}

    def concat(s: Section) -> Native:
        s.has_no_effect("classes must be equal", "ignore_keys")
        s.has_no_effect(_ALWAYS, "lazy_init")
        parts = [dataset(part, pipeline, is_train) for part in s.sections("datasets")]
        return {"type": "ConcatDataset", "datasets": parts}

    def balanced(s: Section) -> Native:
        s.has_no_effect(_ALWAYS, "lazy_init")
        s.expect("filter_empty_gt", True)
        threshold = s.require("oversample_thr")
        return {"type": "ClassBalancedDataset", "oversample_thr": threshold, "dataset": nested(s)}

    def mixed(s: Section) -> Native | None:
        s.has_no_effect("partners are drawn as often as needed", "max_refetch", "dynamic_scale")
        s.expect("skip_type_keys", None)
        s.has_no_effect(_ALWAYS, "lazy_init")
        inner = nested(s)
        more = _pipeline(s, pipeline)
        for one in _innermost(inner):
            one["pipeline"] = one["pipeline"] + more
        return inner

    table = {
        "CocoDataset": lambda s: _coco(s, pipeline, is_train),
        "VOCDataset": lambda s: _voc(s, pipeline, is_train),
        "LVISV1Dataset": lambda s: _coco(s, pipeline, is_train),
        "RepeatDataset": repeat,
        "ConcatDataset": concat,
        "ClassBalancedDataset": balanced,
        "MultiImageMixDataset": mixed,
    }
    return s.dispatch("data set", table)


def _innermost(dataset: Native | None) -> list[Native]:
    """The data sets, within those that wrap others, that read files."""
    if dataset is None:
        return []
    parts = [*dataset.get("datasets", ()), dataset.get("dataset")]
    found = [one for part in parts for one in _innermost(part)]
    return [dataset] if "pipeline" in dataset else found


def _coco(s: Section, pipeline: Pipeline, is_train: bool) -> Native:
    prefix = s.section_or_empty("data_prefix")
    images = prefix.take("img", prefix.take("img_path", ""))
    prefix.has_no_effect("not for detection", "seg")
    return _read_dataset(s, images, pipeline, is_train)


def _voc(s: Section, pipeline: Pipeline, is_train: bool) -> Native:
    """``ann_file`` is a list in ``ImageSets/Main``, from which the rest is found."""
    prefix = s.section_or_empty("data_prefix")
    folder = prefix.take("sub_data_root", "")
    prefix.has_no_effect("images are in JPEGImages", "img", "img_path")
    s.expect("ann_subdir", "Annotations")
    s.expect("img_subdir", "JPEGImages")
    native = _read_dataset(s, str(PurePosixPath(folder) / "JPEGImages"), pipeline, is_train)
    native.setdefault("metainfo", {"classes": VOC_CLASSES})
    return native


def _read_dataset(s: Section, images: str, pipeline: Pipeline, is_train: bool) -> Native:
    s.has_no_effect(_READ_HERE, "backend_args", "file_client_args")
    s.has_no_effect(
        "this package's own way of loading", "serialize_data", "lazy_init", "max_refetch"
    )
    s.has_no_effect("follows from where the data set stands", "test_mode")
    s.expect("proposal_file", None)
    s.expect("return_classes", False)
    root = s.take("data_root") or ""
    native: Native = {
        "type": "CocoDataset",
        "ann_file": _join(root, s.require("ann_file") or ""),
        "image_dir": _join(root, images),
    }
    if (metainfo := s.section("metainfo")) is not None:
        metainfo.has_no_effect("colours are this package's", "palette", "dataset_type", "task_name")
        if (classes := metainfo.take("classes")) is not None:
            native["metainfo"] = {"classes": classes}
    transforms = _pipeline(s, pipeline)
    if pipeline.with_masks:
        native["with_masks"] = True
    native["bad_annotations"] = "skip"  # which MMDetection does without a word
    filters = s.section_or_empty("filter_cfg")
    filters.is_otherwise("small boxes count like others", None, keys=["bbox_min_size"])  # VOC's
    filter_empty, min_size = filters.take("filter_empty_gt", False), filters.take("min_size", 0)
    if is_train and filter_empty:
        native["filter_empty_gt"] = True
    if is_train and min_size:
        native["min_size"] = min_size
    if (indices := s.take("indices")) is not None:
        native["indices"] = indices
    return native | {"pipeline": transforms}


def _join(root: str, path: str) -> str:
    """A path that MMDetection looks up below ``data_root``, unless it is absolute."""
    joined = str(PurePosixPath(root) / path)
    return joined + "/" if path.endswith("/") else joined


def _pipeline(s: Section, pipeline: Pipeline) -> list[Native]:
    return _transforms(s.sections("pipeline"), pipeline)


def _transforms(steps: list[Section], pipeline: Pipeline) -> list[Native]:
    native = [transform(step, pipeline) for step in steps]
    return [one for one in native if one]


def transform(s: Section, pipeline: Pipeline) -> Native | None:
    """One step of a pipeline; None where there is nothing to do, because the data set does it.

    Args:
        s: the step.
        pipeline: is filled with what loading steps say.
    """

    def load_annotations(s: Section) -> None:
        s.has_no_effect(
            _LOADED, "with_bbox", "with_label", "box_type", "imdecode_backend", "backend_args"
        )
        s.expect("with_seg", False)
        s.has_no_effect("not for detection", "with_keypoints")
        pipeline.with_masks = pipeline.with_masks or s.take("with_mask", False)
        pipeline.polygons = pipeline.polygons or not s.take("poly2mask", True)

    def choice(s: Section) -> Native:
        branches = s.take("transforms") or []
        sections = [
            [
                Section(step, f"{s.path}.transforms.{i}.{j}", s.notes)
                for j, step in enumerate(_list(branch))
            ]
            for i, branch in enumerate(branches)
        ]
        native: Native = {
            "type": "RandomChoice",
            "transforms": [_transforms(branch, pipeline) for branch in sections],
        }
        return native | s.copy("prob")

    table = {
        "LoadImageFromFile": _load_image,
        "LoadAnnotations": load_annotations,
        "PackDetInputs": lambda s: s.has_no_effect(_PACKED, "meta_keys"),
        "Resize": _resize,
        "RandomResize": _random_resize,
        "RandomChoiceResize": _random_choice_resize,
        "RandomFlip": _random_flip,
        "RandomCrop": _random_crop,
        "PhotoMetricDistortion": _photometric,
        "Pad": _pad,
        "FilterAnnotations": _filter_annotations,
        "CopyPaste": _copy_paste,
        "Mosaic": _mosaic,
        "RandomChoice": choice,
    }
    return s.dispatch("transform", table)


def _list(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _load_image(s: Section) -> None:
    s.has_no_effect(_READ_HERE, "backend_args", "file_client_args", "imdecode_backend")
    s.expect("to_float32", False)
    s.expect("color_type", "color")
    s.expect("ignore_empty", False)


def _shared_resize(s: Section) -> Native:
    s.has_no_effect("boxes are clipped where they are cropped", "clip_object_border")
    s.has_no_effect("OpenCV resizes", "backend")
    s.expect("interpolation", "bilinear")
    return {} if s.take("keep_ratio", False) else {"keep_ratio": False}


def _resize(s: Section) -> Native:
    s.expect("scale_factor", None)
    return {"type": "Resize", "scale": _pair(s.require("scale")), **_shared_resize(s)}


def _random_resize(s: Section) -> Native:
    s.expect("resize_type", "Resize", "mmdet.Resize")
    scale, ratios = s.require("scale"), s.take("ratio_range")
    native: Native = {"type": "RandomResize"}
    if scale and not isinstance(_pair(scale)[0], int):
        s.has_no_effect("only with one scale", "ratio_range")
        native["scale"] = [_pair(one) for one in scale]
    elif ratios is None:
        s.problem("ratio_range", "is missing; one scale needs it")
    else:
        native |= {"scale": _pair(scale), "ratio_range": tuple(ratios)}
    return native | _shared_resize(s)


def _random_choice_resize(s: Section) -> Native:
    s.expect("resize_type", "Resize", "mmdet.Resize")
    scales = [_pair(scale) for scale in s.require("scales") or ()]
    return {"type": "RandomChoiceResize", "scales": scales, **_shared_resize(s)}


def _pair(value: Any) -> tuple:
    return (value, value) if isinstance(value, int) else tuple(value or ())


def _random_flip(s: Section) -> Native | None:
    prob = s.take("prob")
    if not isinstance(prob, (int, float)):
        s.problem("prob", f"is {prob!r}, and only one number is supported")
        return None
    native: Native = {"type": "RandomFlip", "prob": prob}
    if (direction := s.take("direction", "horizontal")) != "horizontal":
        native["direction"] = direction
    s.has_no_effect("one is drawn for the whole image", "swap_seg_labels")
    return native


def _random_crop(s: Section) -> Native:
    kind = s.take("crop_type", "absolute")
    seen = "boxes are those of what can be seen, where there are masks"
    s.is_otherwise(seen, True, keys=["recompute_bbox"])
    s.expect("bbox_clip_border", True)
    native: Native = {"type": "RandomCrop", "crop_size": tuple(s.require("crop_size") or ())}
    if kind != "absolute":
        native["crop_type"] = kind
    if s.take("allow_negative_crop", False):
        native["allow_negative_crop"] = True
    return native


def _photometric(s: Section) -> Native:
    keys = ("brightness_delta", "contrast_range", "saturation_range", "hue_delta")
    return {"type": "PhotometricDistortion", **s.copy(*keys)}


def _pad(s: Section) -> Native:
    value = s.take("pad_val", 0)
    greys = set(_list(value.get("img", 0) if isinstance(value, dict) else value))
    if len(greys) != 1 or min(greys) != int(min(greys)):
        s.problem(
            "pad_val", f"is {value!r}, and only one whole number for all colours is supported"
        )
        greys = {0}
    s.expect("padding_mode", "constant")
    native: Native = {"type": "Pad", **s.copy("size_divisor", "pad_to_square")}
    if grey := int(greys.pop()):
        native["pad_val"] = grey
    if (size := s.take("size")) is not None:
        native["size"] = _pair(size)
    return native


def _filter_annotations(s: Section) -> Native:
    s.has_no_effect("an image that loses all objects is trained as one without", "keep_empty")
    s.expect("by_mask", False)
    s.has_no_effect("only with by_mask", "min_gt_mask_area")
    if not s.take("by_box", True):
        s.problem("by_box", "is False, and only True is supported")
    return {"type": "FilterAnnotations", "min_size": tuple(s.take("min_gt_bbox_wh", (1.0, 1.0)))}


def _copy_paste(s: Section) -> Native:
    keys = ("max_num_pasted", "bbox_occluded_thr", "mask_occluded_thr", "selected", "paste_by_box")
    return {"type": "CopyPaste", **s.copy(*keys)}


def _mosaic(s: Section) -> Native:
    s.expect("bbox_clip_border", True)
    native: Native = {"type": "Mosaic"}
    if (size := s.take("img_scale")) is not None:
        native["size"] = _pair(size)
    native |= {key: int(value) for key, value in s.copy("pad_val").items()}
    return native | s.copy("center_ratio_range", "prob")


def metric(s: Section, data: Native) -> Native | None:
    """An evaluator; ``data`` is the translated ``val_data``, whose annotations it must use."""

    def coco(s: Section) -> Native:
        s.has_no_effect(_READ_HERE, "backend_args", "file_client_args", "collect_device", "prefix")
        s.has_no_effect("--out writes results", "format_only", "outfile_prefix")
        s.has_no_effect("AP is that of all detections of an image", "proposal_nums")
        s.has_no_effect("all figures are reported", "metric_items")
        s.expect("iou_thrs", None)
        s.expect("use_mp_eval", False)
        s.expect("sort_categories", False)
        _check_ann_file(s, data)
        native: Native = {"type": "CocoMetric", "metrics": metrics(s)}
        if s.take("classwise", False):
            native["classwise"] = True
        return native

    def voc(s: Section) -> Native:
        s.has_no_effect(_READ_HERE, "collect_device", "prefix")
        s.has_no_effect("only for recall", "proposal_nums")
        s.expect("metric", "mAP", ["mAP"])
        s.expect("scale_ranges", None)
        native: Native = {"type": "VOCMetric"}
        if (thresholds := s.take("iou_thrs", 0.5)) != 0.5:
            native["iou_thrs"] = thresholds
        if (mode := s.take("eval_mode", "11points")) != "area":
            native["mode"] = mode
        return native

    def lvis(s: Section) -> Native:
        return {**coco(s), "type": "LVISMetric"}

    table = {"CocoMetric": coco, "VOCMetric": voc, "LVISMetric": lvis}
    return s.dispatch("evaluator", table)


def metrics(s: Section) -> list[str]:
    """What an evaluator measures: 'bbox', 'segm', 'proposal'; VOC's 'mAP'."""
    names = _list(s.take("metric", "bbox"))
    return ["proposal" if name == "proposal_fast" else name for name in names]


def _check_ann_file(s: Section, data: Native) -> None:
    given, used = s.take("ann_file"), (data.get("dataset") or {}).get("ann_file")
    if given and used and PurePosixPath(given) != PurePosixPath(used):
        s.problem(
            "ann_file", f"is {given!r}, but the data set's is {used!r}; they must be the same"
        )
