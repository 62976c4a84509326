# YOLOv5 s (release 7.0). The losses' weights are those for 80 classes at 640 pixels; for others
# multiply that of loss_cls by K / 80 and that of loss_obj by (image side / 640) ** 2.
model = dict(
    type="SingleStageDetector",
    normalizer=dict(type="ImageNormalizer", mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
    backbone=dict(
        type="CSPDarknet",
        block="C3",
        depth_multiple=0.33,
        width_multiple=0.5,
        base_repeats=[3, 6, 9, 3],
        stem_kernel=6,
    ),
    neck=dict(
        type="CSPPAN", block="C3", reduce=True, in_channels=[128, 256, 512], depth_multiple=0.33
    ),
    bbox_head=dict(
        type="YOLOv5Head",
        num_classes=80,
        in_channels=[128, 256, 512],
        prior_generator=dict(
            type="YOLOAnchorGenerator",
            strides=[8, 16, 32],
            base_sizes=[
                [(10, 13), (16, 30), (33, 23)],
                [(30, 61), (62, 45), (59, 119)],
                [(116, 90), (156, 198), (373, 326)],
            ],
        ),
        assigner=dict(type="ShapeRatioAssigner", ratio_thr=4.0),
        loss_cls=dict(type="SigmoidCrossEntropyLoss", loss_weight=0.5),
        loss_obj=dict(type="SigmoidCrossEntropyLoss", loss_weight=1.0),
        loss_bbox=dict(type="CIoULoss", min_iou=0, loss_weight=0.05),
        nms_pre=10000,
        nms=dict(type="NMS", iou_thr=0.6),
    ),
)
