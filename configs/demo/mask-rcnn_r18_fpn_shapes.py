# mmdet-lite demo
# Mask R-CNN with a slim ResNet-18, from random weights, on procedural shapes: minutes on a CPU.
_base_ = "../_base_/models/mask-rcnn_r50_fpn.py"
num_classes = 6
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
        sampler=dict(num=32),
        bbox_roi_extractor=dict(finest_scale=28),
        bbox_head=dict(
            in_channels=64,
            fc_out_channels=256,
            num_classes=num_classes,
            reg_class_agnostic=True,
        ),
        mask_roi_extractor=dict(finest_scale=28),
        mask_head=dict(in_channels=64, num_convs=2, conv_out_channels=64, num_classes=num_classes),
    ),
)
train_data = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        type="ShapesDataset",
        num_images=2000,
        image_size=(128, 128),
        data_seed=0,
        pipeline=[dict(type="RandomFlip", prob=0.5)],
    ),
)
val_data = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(type="ShapesDataset", num_images=200, image_size=(128, 128), data_seed=1),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox", "segm"])
train = dict(
    max_iters=1000,
    val_interval=500,
    log_interval=20,
    best_metric="segm_mAP",
    precision="bf16",
    clip_grad_norm=10.0,
)
optimizer = dict(type="AdamW", lr=1.5e-3, weight_decay=0.05)
param_groups = dict(norm_decay=0.0, bias_decay=0.0)
schedule = dict(type="OneCycleSchedule", warmup_share=0.1)
