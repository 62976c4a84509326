# RetinaNet that computes what torchvision's retinanet_resnet50_fpn computes: its anchors (whole
# numbers of pixels, spread over the padded image), the levels above P5 made from P5's output, its
# clamps and 300 detections. For weights converted by `mmdet-lite convert-checkpoint`; torchvision
# counts COCO's 90 category ids as classes, and the output of its class 0 is left out.
_base_ = "../_base_/models/retinanet_r50_fpn.py"
model = dict(
    neck=dict(add_extra_convs="on_output", relu_before_extra_convs=True),
    bbox_head=dict(
        num_classes=90,
        anchor_generator=dict(
            _delete_=True,
            type="AnchorGenerator",
            strides=[8, 16, 32, 64, 128],
            ratios=[0.5, 1.0, 2.0],
            sizes=[[int(2 ** (level + i / 3)) for i in range(3)] for level in range(5, 10)],
            round_base_anchors=True,
            fit_strides=True,
        ),
        bbox_coder=dict(clip_shrinking=False),
        min_bbox_size=-1,
        max_per_img=300,
    ),
)
