# python tools/train.py configs/yolov5/yolov5_m_640_coco.py
# Not trained here yet. YOLOv5's release 7.0 gives AP 45.4 box for its weights.
_base_ = [
    "../_base_/models/yolov5_s.py",
    "../_base_/datasets/coco_yolo_640.py",
    "../_base_/schedules/schedule_yolo_300e.py",
]
# YOLOv5 trains its m with stronger settings than n and s.
model = dict(
    backbone=dict(depth_multiple=0.67, width_multiple=0.75),
    neck=dict(in_channels=[192, 384, 768], depth_multiple=0.67),
    bbox_head=dict(
        in_channels=[192, 384, 768],
        loss_cls=dict(loss_weight=0.3),
        loss_obj=dict(loss_weight=0.7),
    ),
)
