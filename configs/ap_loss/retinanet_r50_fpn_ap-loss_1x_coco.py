# python tools/train.py configs/ap_loss/retinanet_r50_fpn_ap-loss_1x_coco.py
# Not trained here yet. AP loss in place of the focal loss; everything else, the assignment too, is
# that of ../retinanet/retinanet_r50_fpn_1x_coco.py.
_base_ = [
    "../_base_/models/retinanet_r50_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]
model = dict(bbox_head=dict(loss_cls=dict(_delete_=True, type="APLoss")))
optimizer = dict(lr=0.01)
