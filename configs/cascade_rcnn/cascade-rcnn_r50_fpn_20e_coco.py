# python tools/train.py configs/cascade_rcnn/cascade-rcnn_r50_fpn_20e_coco.py
# Not trained here yet. MMDetection's model zoo gives AP 41.0 box for it (8 GPUs).
_base_ = [
    "../_base_/models/cascade-rcnn_r50_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_20e.py",
]
