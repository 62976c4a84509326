# A Cascade R-CNN of some 300,000 weights on a few small pictures.
_base_ = "../../configs/_base_/models/cascade-rcnn_r50_fpn.py"
model = dict(
    backbone=dict(depth=18, base_channels=8, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(
        in_channels=16,
        feat_channels=16,
        anchor_generator=dict(scales=[4]),
        train_selector=dict(nms_pre=100, max_per_img=30),
    ),
    roi_head=dict(
        sampler=[
            dict(type="RandomSampler", num=16, pos_fraction=0.25, add_gt_as_proposals=True)
            for _ in range(3)
        ],
        bbox_roi_extractor=dict(finest_scale=28),
        bbox_head=[
            dict(
                type="ConvFCBBoxHead",
                num_classes=6,
                in_channels=16,
                num_shared_fcs=2,
                fc_out_channels=16,
                bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
                reg_class_agnostic=True,
                loss_cls=dict(type="CrossEntropyLoss"),
                loss_bbox=dict(type="SmoothL1Loss", beta=1.0),
            )
            for _ in range(3)
        ],
    ),
)
train_data = dict(batch_size=2, dataset=dict(type="ShapesDataset"))
