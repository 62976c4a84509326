# mmdet-lite demo
# YOLOv5 n, from random weights, on procedural shapes: minutes on a CPU.
_base_ = "../_base_/models/yolov5_s.py"
model = dict(
    backbone=dict(width_multiple=0.25),
    neck=dict(in_channels=[64, 128, 256]),
    bbox_head=dict(
        num_classes=6,
        in_channels=[64, 128, 256],
        # Less than for 80 classes at 640 pixels, where few of many outputs are to be 1.
        loss_cls=dict(loss_weight=0.1),
        loss_obj=dict(loss_weight=0.25),
        nms_pre=300,
        max_per_img=100,
    ),
)
train_data = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(
        type="ShapesDataset",
        num_images=4000,
        image_size=(128, 128),
        data_seed=0,
        pipeline=[dict(type="RandomFlip", prob=0.5)],
    ),
)
val_data = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(type="ShapesDataset", num_images=200, image_size=(128, 128), data_seed=1),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox"])
train = dict(
    max_iters=1200,
    val_interval=600,
    log_interval=20,
    channels_last=True,
    clip_grad_norm=10.0,
)
optimizer = dict(type="AdamW", lr=2e-3, weight_decay=0.05, fused=True)
param_groups = dict(norm_decay=0.0, bias_decay=0.0)
schedule = dict(type="OneCycleSchedule", warmup_share=0.1)
