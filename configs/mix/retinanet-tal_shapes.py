# python tools/train.py configs/mix/retinanet-tal_shapes.py
# A slim RetinaNet with YOLOv8's assigner: one anchor a cell, positives by how well they are
# predicted, one score for class and quality. bbox_mAP 0.652.
_base_ = [
    "../_base_/models/retinanet_r50_fpn.py",
    "../_base_/datasets/shapes_detection.py",
    "../_base_/schedules/schedule_shapes.py",
]
model = dict(
    backbone=dict(depth=18, base_channels=32, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, add_extra_convs=None, num_outs=3),
    bbox_head=dict(
        num_classes=6,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        anchor_generator=dict(
            scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32], center_offset=0.5
        ),
        assigner=dict(_delete_=True, type="TaskAlignedAssigner", min_side=16),
        loss_cls=dict(_delete_=True, type="QualityFocalLoss"),
        nms_pre=300,
    ),
)
