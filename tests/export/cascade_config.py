# A slim Cascade Mask R-CNN on shapes; the stages are made slim by the test's options.
_base_ = [
    "../../configs/_base_/models/cascade-mask-rcnn_r50_fpn.py",
    "../../configs/_base_/datasets/shapes_detection.py",
    "../../configs/_base_/schedules/schedule_shapes.py",
]
model = dict(
    backbone=dict(depth=18, base_channels=32, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4]),
        train_selector=dict(nms_pre=400, max_per_img=200),
        test_selector=dict(nms_pre=200, max_per_img=100),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=28), mask_roi_extractor=dict(finest_scale=28)
    ),
)
