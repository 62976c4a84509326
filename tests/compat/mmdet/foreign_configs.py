"""Configs in MMDetection's form, with the settings that its own configs have: small ones to build
and train in tests, and the full-sized models of the reference's state dicts."""

from __future__ import annotations

from typing import Any

Foreign = dict[str, Any]


def make_models(
    depth: int = 18,
    base: int = 8,
    stages: tuple[int, ...] = (8, 16, 32, 64),
    width: int = 8,
    fc: int = 16,
    convs: int = 1,
    classes: int = 6,
) -> dict[str, Foreign]:
    """A Mask R-CNN, a Cascade Mask R-CNN and a RetinaNet.

    Args:
        depth: of the backbone.
        base: its channels.
        stages: channels of its stages.
        width: channels of the neck and the heads.
        fc: width of the box heads' layers.
        convs: convolutions of mask and dense heads.
        classes: number of classes.
    """
    backbone = dict(
        type="ResNet",
        depth=depth,
        base_channels=base,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"),
    )
    preprocessor = dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    )
    rpn = dict(
        type="RPNHead",
        in_channels=width,
        feat_channels=width,
        anchor_generator=dict(
            type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0, 1.0, 1.0, 1.0]
        ),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    )
    rpn_train = dict(
        assigner=dict(
            type="MaxIoUAssigner",
            pos_iou_thr=0.7,
            neg_iou_thr=0.3,
            min_pos_iou=0.3,
            match_low_quality=True,
            ignore_iof_thr=-1,
        ),
        sampler=dict(
            type="RandomSampler",
            num=64,
            pos_fraction=0.5,
            neg_pos_ub=-1,
            add_gt_as_proposals=False,
        ),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    )
    proposals = dict(
        nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
    )
    final = dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=100)

    def extractor(size: int) -> Foreign:
        return dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=size, sampling_ratio=0),
            out_channels=width,
            featmap_strides=[4, 8, 16, 32],
        )

    def bbox_head(stds: list[float], agnostic: bool = False) -> Foreign:
        return dict(
            type="Shared2FCBBoxHead",
            in_channels=width,
            fc_out_channels=fc,
            roi_feat_size=7,
            num_classes=classes,
            bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=stds),
            reg_class_agnostic=agnostic,
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
        )

    def rcnn(iou: float) -> Foreign:
        return dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=iou,
                neg_iou_thr=iou,
                min_pos_iou=iou,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type="RandomSampler", num=32, pos_fraction=0.25, add_gt_as_proposals=True),
            mask_size=28,
            pos_weight=-1,
            debug=False,
        )

    mask_head = dict(
        type="FCNMaskHead",
        num_convs=convs,
        in_channels=width,
        conv_out_channels=width,
        num_classes=classes,
        loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
    )
    neck = dict(type="FPN", in_channels=stages, out_channels=width, num_outs=5)
    mask_rcnn = dict(
        type="MaskRCNN",
        data_preprocessor=preprocessor,
        backbone=backbone,
        neck=neck,
        rpn_head=rpn,
        roi_head=dict(
            type="StandardRoIHead",
            bbox_roi_extractor=extractor(7),
            bbox_head=bbox_head([0.1, 0.1, 0.2, 0.2]),
            mask_roi_extractor=extractor(14),
            mask_head=mask_head,
        ),
        train_cfg=dict(rpn=rpn_train, rpn_proposal=proposals, rcnn=rcnn(0.5)),
        test_cfg=dict(rpn=proposals, rcnn=dict(final, mask_thr_binary=0.5)),
    )
    cascade = dict(
        type="CascadeRCNN",
        data_preprocessor=preprocessor,
        backbone=backbone,
        neck=neck,
        rpn_head=rpn,
        roi_head=dict(
            type="CascadeRoIHead",
            num_stages=3,
            stage_loss_weights=[1, 0.5, 0.25],
            bbox_roi_extractor=extractor(7),
            bbox_head=[
                bbox_head([0.1, 0.1, 0.2, 0.2], True),
                bbox_head([0.05, 0.05, 0.1, 0.1], True),
                bbox_head([0.033, 0.033, 0.067, 0.067], True),
            ],
            mask_roi_extractor=extractor(14),
            mask_head=mask_head,
        ),
        train_cfg=dict(
            rpn=rpn_train, rpn_proposal=proposals, rcnn=[rcnn(t) for t in (0.5, 0.6, 0.7)]
        ),
        test_cfg=dict(rpn=proposals, rcnn=dict(final, mask_thr_binary=0.5)),
    )
    retinanet = dict(
        type="RetinaNet",
        data_preprocessor=preprocessor,
        backbone=backbone,
        neck=dict(neck, start_level=1, add_extra_convs="on_input"),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=classes,
            in_channels=width,
            stacked_convs=convs,
            feat_channels=width,
            anchor_generator=dict(
                type="AnchorGenerator",
                octave_base_scale=4,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=[8, 16, 32, 64, 128],
            ),
            bbox_coder=rpn["bbox_coder"],
            loss_cls=dict(
                type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
            ),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
        train_cfg=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(nms_pre=1000, min_bbox_size=0, **final),
    )
    return {"mask": mask_rcnn, "cascade": cascade, "retinanet": retinanet}


def stock_models() -> dict[str, Foreign]:
    """The models of the reference's state dicts."""
    r50 = {"depth": 50, "stages": (256, 512, 1024, 2048)}
    full = {"base": 64, "width": 256, "fc": 1024, "convs": 4, "classes": 80}
    large = make_models(**r50, **full)
    small = make_models(depth=18, stages=(64, 128, 256, 512), **full)
    return {
        "faster-rcnn_r50": _without_masks(large["mask"], "FasterRCNN"),
        "faster-rcnn_r18": _without_masks(small["mask"], "FasterRCNN"),
        "mask-rcnn_r50": large["mask"],
        "cascade-rcnn_r50": _without_masks(large["cascade"], "CascadeRCNN"),
        "retinanet_r50": large["retinanet"],
    }


def _without_masks(model: Foreign, kind: str) -> Foreign:
    roi_head = {name: part for name, part in model["roi_head"].items() if "mask" not in name}
    return {**model, "type": kind, "roi_head": roi_head}


def foreign_config(model: str = "mask", root: str = "data/shapes/") -> Foreign:
    """A whole config: as MMDetection's schedule_1x, coco_instance and default_runtime make it."""
    masks = model != "retinanet"
    load = dict(type="LoadImageFromFile", backend_args=None)
    annotations = dict(type="LoadAnnotations", with_bbox=True, with_mask=masks)
    resize = dict(type="Resize", scale=(96, 64), keep_ratio=True)

    def loader(split: str, pipeline: list, **more: Any) -> Foreign:
        data = dict(
            type="CocoDataset",
            data_root=root,
            ann_file=f"annotations/{split}.json",
            data_prefix=dict(img=f"{split}/"),
            pipeline=pipeline,
            backend_args=None,
        )
        return dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data | more)

    train = loader(
        "train",
        [load, annotations, resize, dict(type="RandomFlip", prob=0.5), dict(type="PackDetInputs")],
        filter_cfg=dict(filter_empty_gt=True),
    )
    train |= dict(
        sampler=dict(type="DefaultSampler", shuffle=True),
        batch_sampler=dict(type="AspectRatioBatchSampler"),
    )
    packed = dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape"))
    val = loader("val", [load, resize, annotations, packed], test_mode=True)
    val |= dict(drop_last=False, sampler=dict(type="DefaultSampler", shuffle=False))
    evaluator = dict(
        type="CocoMetric",
        ann_file=f"{root}annotations/val.json",
        metric=["bbox", "segm"] if masks else "bbox",
        format_only=False,
    )
    whole = dict(
        model=make_models()[model],
        train_dataloader=train,
        val_dataloader=val,
        test_dataloader=val,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=1),
        val_cfg=dict(type="ValLoop"),
        test_cfg=dict(type="TestLoop"),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
            dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
        ],
        optim_wrapper=dict(
            type="OptimWrapper",
            optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
        ),
        auto_scale_lr=dict(enable=False, base_batch_size=16),
        default_scope="mmdet",
        default_hooks=dict(
            timer=dict(type="IterTimerHook"),
            logger=dict(type="LoggerHook", interval=50),
            param_scheduler=dict(type="ParamSchedulerHook"),
            checkpoint=dict(type="CheckpointHook", interval=1),
            sampler_seed=dict(type="DistSamplerSeedHook"),
            visualization=dict(type="DetVisualizationHook"),
        ),
        env_cfg=dict(
            cudnn_benchmark=False,
            mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
            dist_cfg=dict(backend="nccl"),
        ),
        vis_backends=[dict(type="LocalVisBackend")],
        visualizer=dict(type="DetLocalVisualizer", name="visualizer"),
        log_processor=dict(type="LogProcessor", window_size=50, by_epoch=True),
        log_level="INFO",
        load_from=None,
        resume=False,
    )
    return _unshared(whole)


def _unshared(value: Any) -> Any:
    """A copy in which no dict or list stands in two places."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value
