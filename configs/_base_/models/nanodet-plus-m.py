# NanoDet-Plus-m (https://github.com/RangiLyu/nanodet) with ShuffleNetV2 1.0x: 1.2 M parameters, and
# 3.1 M more that guide the training.
model = dict(
    type="NanoDetPlus",
    normalizer=dict(
        type="ImageNormalizer",
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        to_bgr=True,
    ),
    backbone=dict(
        type="ShuffleNetV2",
        width=1.0,
        act_cfg=dict(type="LeakyReLU", negative_slope=0.1),
        pretrained="torchvision://shufflenet_v2_x1_0",
    ),
    neck=dict(type="GhostPAN", in_channels=[116, 232, 464], out_channels=96),
    bbox_head=dict(
        type="NanoDetPlusHead",
        num_classes=80,
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        strides=[8, 16, 32, 64],
        bbox_coder=dict(type="DistributionCoder", num_bins=8, margin=0.1),
        assigner=dict(type="DynamicSoftLabelAssigner", topk=13, iou_factor=3.0),
        loss_cls=dict(type="QualityFocalLoss", beta=2.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_dfl=dict(type="DistributionFocalLoss", loss_weight=0.25),
        score_thr=0.05,
        nms=dict(type="NMS", iou_thr=0.6),
        max_per_img=100,
    ),
    aux_head=dict(
        type="SimpleConvHead",
        num_classes=80,
        in_channels=192,
        feat_channels=192,
        stacked_convs=4,
        num_bins=8,
    ),
    detach_epoch=10,
)
