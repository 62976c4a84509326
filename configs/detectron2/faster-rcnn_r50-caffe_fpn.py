# Faster R-CNN that computes what detectron2's R50-FPN computes, with the MSRA weights' layout: BGR
# images without division by a standard deviation, and the stride of a block in its first 1x1
# convolution. For weights converted by `mmdet-lite convert-checkpoint`. Anchors (32 to 512 pixels,
# one size a level, centred on the corner of a cell), RoIAlign, the score threshold of 0.05 and NMS
# of 0.5 are those of ../_base_; what differs stands below. detectron2 resizes by PIL, here it is
# done by OpenCV, and pads to multiples of 32.
_base_ = "../_base_/models/faster-rcnn_r50_fpn.py"
model = dict(
    normalizer=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_bgr=True),
    backbone=dict(
        style="caffe",
        norm_cfg=dict(type="BN", requires_grad=False),
        pretrained="open-mmlab://detectron2/resnet50_caffe",
    ),
    # sides grow to 62.5 times at most, and shrink without limit
    rpn_head=dict(bbox_coder=dict(clip_shrinking=False)),
    roi_head=dict(bbox_head=dict(bbox_coder=dict(clip_shrinking=False))),
)
