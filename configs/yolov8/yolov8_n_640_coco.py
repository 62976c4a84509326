# python tools/train.py configs/yolov8/yolov8_n_640_coco.py
# Not trained here. Published: AP 37.3 box, with mosaic and mixup, which this pipeline lacks.
_base_ = [
    "../_base_/models/yolov8_n.py",
    "../_base_/datasets/coco_detection_640.py",
    "../_base_/schedules/schedule_yolov8_500e.py",
]
