# python tools/train.py configs/nanodet/nanodet-plus-m-1.5x_416_coco.py
# Not trained here yet. The original project gives AP 34.1 box for it.
_base_ = [
    "../_base_/models/nanodet-plus-m.py",
    "../_base_/datasets/coco_nanodet_416.py",
    "../_base_/schedules/schedule_nanodet_300e.py",
]
model = dict(
    backbone=dict(width=1.5, pretrained="torchvision://shufflenet_v2_x1_5"),
    neck=dict(in_channels=[176, 352, 704], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128),
    aux_head=dict(in_channels=256, feat_channels=256),
)
