# Cascade R-CNN (Cai and Vasconcelos 2018) with ResNet-50 and FPN.
# Each stage has its own IoU threshold and its own scale of the box deltas.
ious = [0.5, 0.6, 0.7]
stds = [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
model = dict(
    type="TwoStageDetector",
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
    neck=dict(type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(
        type="RPNHead",
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator",
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
        sampler=dict(type="RandomSampler", num=256, pos_fraction=0.5),
        allowed_border=0,
        loss_cls=dict(type="BinaryCrossEntropyLoss"),
        loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9),
        train_selector=dict(
            type="ProposalSelector", nms_pre=2000, max_per_img=2000, nms_iou_thr=0.7
        ),
        test_selector=dict(
            type="ProposalSelector", nms_pre=1000, max_per_img=1000, nms_iou_thr=0.7
        ),
    ),
    roi_head=dict(
        type="CascadeRoIHead",
        stage_loss_weights=[1, 0.5, 0.25],
        assigner=[
            dict(
                type="MaxIoUAssigner",
                pos_iou_thr=iou,
                neg_iou_thr=iou,
                min_pos_iou=iou,
                match_low_quality=False,
            )
            for iou in ious
        ],
        sampler=[
            dict(type="RandomSampler", num=512, pos_fraction=0.25, add_gt_as_proposals=True)
            for _ in ious
        ],
        bbox_roi_extractor=dict(type="RoIExtractor", output_size=7, featmap_strides=[4, 8, 16, 32]),
        bbox_head=[
            dict(
                type="ConvFCBBoxHead",
                num_classes=80,
                in_channels=256,
                num_shared_fcs=2,
                fc_out_channels=1024,
                bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=std),
                reg_class_agnostic=True,
                loss_cls=dict(type="CrossEntropyLoss"),
                loss_bbox=dict(type="SmoothL1Loss", beta=1.0),
                score_thr=0.05,
                nms=dict(type="NMS", iou_thr=0.5),
                max_per_img=100,
            )
            for std in stds
        ],
    ),
)
