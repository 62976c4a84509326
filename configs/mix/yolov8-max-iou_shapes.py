# python tools/train.py configs/mix/yolov8-max-iou_shapes.py
# YOLOv8's network and losses with RetinaNet's assigner: positives by overlap with squares around
# the points, all of which have to score 1. bbox_mAP 0.742.
_base_ = [
    "../_base_/models/yolov8_n.py",
    "../_base_/datasets/shapes_detection.py",
    "../_base_/schedules/schedule_shapes.py",
]
model = dict(
    bbox_head=dict(
        num_classes=6,
        prior_scale=3.0,  # squares of 24, 48 and 96 pixels
        assigner=dict(
            _delete_=True, type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0
        ),
        nms_pre=300,
        max_per_img=100,
    ),
)
