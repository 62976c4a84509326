# Mask R-CNN that computes what torchvision's maskrcnn_resnet50_fpn computes: its anchor rounding,
# RoIAlign, clamps and mask pasting. For weights converted by `mmdet-lite convert-checkpoint`.
_base_ = "../_base_/models/mask-rcnn_r50_fpn.py"
model = dict(
    rpn_head=dict(
        anchor_generator=dict(round_base_anchors=True, fit_strides=True),
        bbox_coder=dict(clip_shrinking=False),
        test_selector=dict(min_bbox_size=1e-3),
        train_selector=dict(max_per_img=2000, min_bbox_size=1e-3),
    ),
    roi_head=dict(
        assigner=dict(match_low_quality=False),
        bbox_roi_extractor=dict(sampling_ratio=2, aligned=False),
        bbox_head=dict(num_classes=90, bbox_coder=dict(clip_shrinking=False)),
        mask_roi_extractor=dict(sampling_ratio=2, aligned=False),
        mask_head=dict(num_classes=90, paste_rule="resize"),
    ),
)
