# python tools/train.py configs/mix/fcos-ap_shapes.py
# AP loss on a head without anchors: FCOS with a slim ResNet-18, from random weights, on procedural
# shapes. bbox_mAP 0.423.
_base_ = [
    "../_base_/models/retinanet_r50_fpn.py",
    "../_base_/datasets/shapes_detection.py",
    "../_base_/schedules/schedule_shapes.py",
]
model = dict(
    backbone=dict(depth=18, base_channels=32, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, num_outs=4),
    bbox_head=dict(
        _delete_=True,
        type="FCOSHead",
        num_classes=6,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        num_groups=16,
        strides=[8, 16, 32, 64],
        assigner=dict(
            type="FCOSAssigner",
            regress_ranges=[(-1, 24), (24, 48), (48, 96), (96, float("inf"))],  # of 128 pixels
        ),
        loss_cls=dict(type="APLoss"),
        loss_bbox=dict(type="GIoULoss"),
        loss_centerness=dict(type="BinaryCrossEntropyLoss"),
        score_thr=0.01,
    ),
)
train_data = dict(batch_size=8, dataset=dict(num_images=2000))
val_data = dict(batch_size=8)
test_data = dict(batch_size=8)
train = dict(best_metric="bbox_mAP")
optimizer = dict(lr=1.5e-3)
