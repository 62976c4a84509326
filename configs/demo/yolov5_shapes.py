# python tools/train.py configs/demo/yolov5_shapes.py
# YOLOv5 n, from random weights, on procedural shapes: bbox_mAP 0.754 after 118 s on two cores of an
# AMD EPYC with AVX-512.
_base_ = [
    "../_base_/models/yolov5_s.py",
    "../_base_/datasets/shapes_detection.py",
    "../_base_/schedules/schedule_shapes.py",
]
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
train = dict(max_iters=1200, val_interval=600)
