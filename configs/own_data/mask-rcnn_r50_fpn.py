# python tools/train.py configs/own_data/mask-rcnn_r50_fpn.py
# Fine-tunes a detector of COCO's 80 classes for the classes of your own data, with masks;
# MMDET_LITE_DATA names the folder.
_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/own_data.py",
    "../_base_/schedules/schedule_1x.py",
]
# The number of classes is that of the data.
model = dict(roi_head=dict(bbox_head=dict(num_classes=None), mask_head=dict(num_classes=None)))
load_from = "zoo:mask-rcnn_r50_fpn_1x_coco"  # downloaded once; None: from ImageNet's weights
train_data = dict(dataset=dict(with_masks=True))
val_data = dict(dataset=dict(with_masks=True))
test_data = dict(dataset=dict(with_masks=True))
metric = dict(metrics=["bbox", "segm"])
train = dict(log_interval=10, best_metric="segm_mAP")
