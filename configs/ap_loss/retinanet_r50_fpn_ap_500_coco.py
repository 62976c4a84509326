# python tools/train.py configs/ap_loss/retinanet_r50_fpn_ap_500_coco.py
# Not trained here yet. Training images of 512 x 512, batch, learning rate and warm-up are those of
# cccorn/AP-loss. Its pixels at inference (500 on the short side) and its 100 epochs are taken from
# the paper and not verified. It crops as SSD does; here a window of random size takes that place. A
# step of a batch without objects is not skipped, as it is there: its losses and gradients are 0.
_base_ = ["../_base_/models/retinanet-ap_r50_fpn.py", "../_base_/datasets/coco_detection.py"]
train_data = dict(
    batch_size=16,
    dataset=dict(
        pipeline=[
            dict(type="PhotometricDistortion"),
            dict(type="RandomCrop", crop_size=(0.3, 0.3), crop_type="relative_range"),
            dict(type="Resize", scale=(512, 512), keep_ratio=False),
            dict(type="RandomFlip", prob=0.5),
        ],
    ),
)
val_data = dict(dataset=dict(pipeline=[dict(type="Resize", scale=(833, 500))]))
test_data = val_data
train = dict(max_epochs=100, val_interval=5, log_interval=50)
optimizer = dict(type="SGD", lr=0.001, momentum=0.9, weight_decay=1e-4)
schedule = dict(
    type="MultiStepSchedule", milestones=[60, 80], gamma=0.1, warmup_iters=500, warmup_factor=1 / 3
)
auto_scale_lr = dict(enable=True, base_batch_size=16)
