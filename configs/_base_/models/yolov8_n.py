# YOLOv8 n, the smallest one.
model = dict(
    type="SingleStageDetector",
    normalizer=dict(type="ImageNormalizer", mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
    backbone=dict(type="CSPDarknet", depth_multiple=0.33, width_multiple=0.25),
    neck=dict(type="CSPPAN", in_channels=[64, 128, 256], depth_multiple=0.33),
    bbox_head=dict(
        type="YOLOv8Head",
        num_classes=80,
        in_channels=[64, 128, 256],
        strides=[8, 16, 32],
        assigner=dict(type="TaskAlignedAssigner", topk=10, alpha=0.5, beta=6.0),
        loss_cls=dict(type="SigmoidCrossEntropyLoss", loss_weight=0.5),
        loss_bbox=dict(type="CIoULoss", min_iou=0, loss_weight=7.5),
        loss_dfl=dict(type="DistributionFocalLoss", loss_weight=1.5),
        score_thr=0.001,
        nms_pre=10000,
        nms=dict(type="NMS", iou_thr=0.7),
        max_per_img=300,
    ),
)
