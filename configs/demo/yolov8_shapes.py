# mmdet-lite demo
# YOLOv8 n, from random weights, on procedural shapes: minutes on a CPU.
_base_ = "../_base_/models/yolov8_n.py"
model = dict(
    bbox_head=dict(
        num_classes=6,
        # The shapes are small for the strides, as the pictures are.
        assigner=dict(min_side=16),
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
