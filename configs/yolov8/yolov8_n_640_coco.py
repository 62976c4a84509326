# python tools/train.py configs/yolov8/yolov8_n_640_coco.py
# Not trained here. Published: AP 37.3 box.
_base_ = [
    "../_base_/models/yolov8_n.py",
    "../_base_/datasets/coco_yolov8_640.py",
    "../_base_/schedules/schedule_yolo_300e.py",
]
train = dict(max_epochs=500)
