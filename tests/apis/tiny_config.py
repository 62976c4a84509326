# A Mask R-CNN of some 200,000 weights on a few small pictures: a step takes milliseconds.
_base_ = "../../configs/_base_/models/mask-rcnn_r50_fpn.py"
num_classes = 6
model = dict(
    backbone=dict(depth=18, base_channels=8, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(
        in_channels=16,
        feat_channels=16,
        anchor_generator=dict(scales=[4]),
        train_selector=dict(nms_pre=100, max_per_img=30),
        test_selector=dict(nms_pre=100, max_per_img=20),
    ),
    roi_head=dict(
        sampler=dict(num=16),
        bbox_roi_extractor=dict(finest_scale=28),
        bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=num_classes),
        mask_roi_extractor=dict(finest_scale=28),
        mask_head=dict(in_channels=16, num_convs=1, conv_out_channels=8, num_classes=num_classes),
    ),
)
train_data = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(
        type="ShapesDataset",
        num_images=8,
        image_size=(64, 64),
        data_seed=0,
        pipeline=[dict(type="RandomFlip", prob=0.5)],
    ),
)
val_data = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(type="ShapesDataset", num_images=4, image_size=(64, 64), data_seed=1),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox", "segm"])
train = dict(max_iters=2, log_interval=1, best_metric="segm_mAP")
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.05)
param_groups = dict(norm_decay=0.0, bias_decay=0.0)
schedule = dict(type="OneCycleSchedule", warmup_share=0.1)
