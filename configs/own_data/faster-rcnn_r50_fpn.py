# python tools/train.py configs/own_data/faster-rcnn_r50_fpn.py
# Fine-tunes a detector of COCO's 80 classes for the classes of your own data, boxes only;
# MMDET_LITE_DATA names the folder.
_base_ = [
    "../_base_/models/faster-rcnn_r50_fpn.py",
    "../_base_/datasets/own_data.py",
    "../_base_/schedules/schedule_1x.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=None)))  # that of the data
load_from = "zoo:faster-rcnn_r50_fpn_1x_coco"  # downloaded once; None: from ImageNet's weights
train = dict(log_interval=10, best_metric="bbox_mAP")
