# python tools/train.py configs/mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py
# Not trained here yet. MMDetection's model zoo gives AP 40.8 box, 36.6 mask for it (8 GPUs).
_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_2x.py",
]
model = dict(backbone=dict(depth=101, pretrained="torchvision://resnet101"))
