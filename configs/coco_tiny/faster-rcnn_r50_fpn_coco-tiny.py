# python tools/train.py configs/coco_tiny/faster-rcnn_r50_fpn_coco-tiny.py
# A trial at full resolution on 80 images, from random weights: it shows that everything runs.
_base_ = [
    "../_base_/models/faster-rcnn_r50_fpn.py",
    "../_base_/datasets/coco_tiny_instance.py",
    "../_base_/schedules/schedule_1x.py",
]
# Random weights need batch statistics, and nothing may be frozen.
model = dict(backbone=dict(pretrained=None, frozen_stages=-1, norm_eval=False))
train = dict(log_interval=5)
metric = dict(metrics=["bbox"])
