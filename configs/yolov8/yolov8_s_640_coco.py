# python tools/train.py configs/yolov8/yolov8_s_640_coco.py
# Not trained here. Published: AP 44.9 box.
_base_ = [
    "../_base_/models/yolov8_n.py",
    "../_base_/datasets/coco_yolov8_640.py",
    "../_base_/schedules/schedule_yolo_300e.py",
]
model = dict(
    backbone=dict(width_multiple=0.5),
    neck=dict(in_channels=[128, 256, 512]),
    bbox_head=dict(in_channels=[128, 256, 512]),
)
train = dict(max_epochs=500)
