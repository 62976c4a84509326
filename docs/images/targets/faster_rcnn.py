# python tools/targets.py docs/images/targets/faster_rcnn.py
# The demo's Mask R-CNN without its masks: Faster R-CNN on procedural shapes.
_base_ = "../../../configs/demo/mask-rcnn_r18_fpn_shapes.py"
model = dict(roi_head=dict(mask_roi_extractor=None, mask_head=None))
metric = dict(metrics=["bbox"])
train = dict(best_metric="bbox_mAP")
