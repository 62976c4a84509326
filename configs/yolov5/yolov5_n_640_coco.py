# python tools/train.py configs/yolov5/yolov5_n_640_coco.py
# Not trained here yet. YOLOv5's release 7.0 gives AP 28.0 box for its weights.
_base_ = [
    "../_base_/models/yolov5_s.py",
    "../_base_/datasets/coco_yolo_640.py",
    "../_base_/schedules/schedule_yolo_300e.py",
]
model = dict(
    backbone=dict(width_multiple=0.25),
    neck=dict(in_channels=[64, 128, 256]),
    bbox_head=dict(in_channels=[64, 128, 256]),
)
