# python tools/train.py configs/retinanet/retinanet_r50_fpn_2x_coco.py
# Not trained here yet. MMDetection's model zoo gives AP 37.4 box for it (8 GPUs).
_base_ = [
    "../_base_/models/retinanet_r50_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_2x.py",
]
optimizer = dict(lr=0.01)
