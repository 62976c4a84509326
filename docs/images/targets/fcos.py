# python tools/targets.py docs/images/targets/fcos.py
# FCOS with a slim ResNet-18 and its own focal loss, on procedural shapes.
_base_ = "../../../configs/mix/fcos-ap_shapes.py"
model = dict(bbox_head=dict(loss_cls=dict(_delete_=True, type="FocalLoss", gamma=2.0, alpha=0.25)))
