# python tools/targets.py docs/images/targets/retinanet.py
# RetinaNet with a slim ResNet-18, on procedural shapes.
_base_ = [
    "../../../configs/_base_/models/retinanet_r50_fpn.py",
    "../../../configs/_base_/datasets/shapes_detection.py",
    "../../../configs/_base_/schedules/schedule_shapes.py",
]
model = dict(
    backbone=dict(depth=18, base_channels=32, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    bbox_head=dict(
        num_classes=6,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        anchor_generator=dict(octave_base_scale=2),  # the images are 128 pixels, not 1333
    ),
)
train_data = dict(batch_size=8, dataset=dict(num_images=2000))
