# python tools/train.py configs/coco_tiny/mask-rcnn_r18_fpn_coco-tiny-overfit.py
# Learns 16 real images by heart, from random weights, on two CPU cores: a check that the whole
# path from an annotation to the mAP is sound.
_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/coco_tiny_instance.py",
]
model = dict(
    backbone=dict(depth=18, pretrained=None, frozen_stages=-1, norm_eval=False),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=96),
    rpn_head=dict(
        in_channels=96,
        feat_channels=96,
        anchor_generator=dict(scales=[4]),  # the images are 320 pixels, not 1333
        train_selector=dict(nms_pre=1000, max_per_img=500),
        test_selector=dict(nms_pre=500, max_per_img=300),
    ),
    roi_head=dict(
        sampler=dict(num=96),
        bbox_roi_extractor=dict(finest_scale=28),
        bbox_head=dict(in_channels=96, fc_out_channels=512),
        mask_roi_extractor=dict(finest_scale=28),
        mask_head=dict(in_channels=96, conv_out_channels=96),
    ),
)
data_root = "{{$MMDET_LITE_COCO_TINY:data/coco_tiny}}/"
dataset = dict(
    _delete_=True,
    type="CocoDataset",
    ann_file=data_root + "annotations/instances_train2017.json",
    image_dir=data_root + "train2017/",
    with_masks=True,
    indices=16,
    pipeline=[dict(type="Resize", scale=(320, 320))],
)
train_data = dict(batch_size=4, num_workers=1, dataset=dataset)
val_data = dict(batch_size=4, num_workers=1, dataset=dataset)
test_data = val_data
train = dict(
    max_iters=1400,
    val_interval=700,
    log_interval=20,
    best_metric="segm_mAP",
    precision="bf16",
    clip_grad_norm=10.0,
)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.05)
param_groups = dict(norm_decay=0.0, bias_decay=0.0)
schedule = dict(type="OneCycleSchedule", warmup_share=0.1)
