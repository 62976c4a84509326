# RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection") with ResNet-50 and FPN.
model = dict(
    type="SingleStageDetector",
    normalizer=dict(
        type="ImageNormalizer", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        frozen_stages=1,
        norm_eval=True,
        pretrained="torchvision://resnet50",
    ),
    neck=dict(
        type="FPN",
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs="on_input",
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
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4),
        loss_cls=dict(type="FocalLoss", gamma=2.0, alpha=0.25),
        loss_bbox=dict(type="L1Loss"),
        nms_pre=1000,
        score_thr=0.05,
        nms=dict(type="NMS", iou_thr=0.5),
        max_per_img=100,
    ),
)
