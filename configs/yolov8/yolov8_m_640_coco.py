# python tools/train.py configs/yolov8/yolov8_m_640_coco.py
# Not trained here. Published: AP 50.2 box.
_base_ = [
    "../_base_/models/yolov8_n.py",
    "../_base_/datasets/coco_yolov8_640.py",
    "../_base_/schedules/schedule_yolo_300e.py",
]
model = dict(
    backbone=dict(depth_multiple=0.67, width_multiple=0.75, max_channels=768),
    neck=dict(in_channels=[192, 384, 576], depth_multiple=0.67),
    bbox_head=dict(in_channels=[192, 384, 576]),
)
train = dict(max_epochs=500)
