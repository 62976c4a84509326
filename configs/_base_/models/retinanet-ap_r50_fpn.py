# RetinaNet with AP loss (Chen et al. 2019, "Towards Accurate One-Stage Object Detection with
# AP-Loss") as its implementation has it (cccorn/AP-loss): 6 anchors a cell, boxes with inclusive
# pixels, assignment by float64 overlaps, a smooth L1 loss with the gradient of a mean over the
# coordinates, MSRA's backbone with frozen batch norms.
model = dict(
    type="SingleStageDetector",
    normalizer=dict(
        type="ImageNormalizer",
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        to_bgr=True,
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        style="caffe",
        pretrained="open-mmlab://detectron2/resnet50_caffe",
    ),
    neck=dict(
        type="FPN",
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs="on_input",
        relu_before_extra_convs=True,
        num_outs=5,
    ),
    bbox_head=dict(
        type="RetinaHead",
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=4,
            scales_per_octave=2,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
            center_offset=0.5,
            inclusive=True,
        ),
        bbox_coder=dict(type="InclusiveDeltaXYWHCoder", target_stds=[0.1, 0.1, 0.2, 0.2]),
        assigner=dict(type="APAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4),
        loss_cls=dict(type="APLoss", delta=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, grad_scale=0.25),
        min_pos_per_img=0,
        score_thr=[0.01, 0.01, 0.01, 0.01, 0.0],  # every level above 0.01, but the last
        nms_pre=1000,
        min_bbox_size=-1,
        nms=dict(type="NMS", iou_thr=0.5),
        max_per_img=100,
    ),
)
