# A small Mask R-CNN with everything that a resumed run must take up again: moving average, batch
# norm's statistics, augmentation in worker processes, images without objects, warm-up, a fall of
# the learning rate, epochs of 5 iterations, validations and checkpoints at different iterations.
_base_ = "../apis/tiny_config.py"
custom_imports = dict(imports=["fault_hooks"])
train_data = dict(
    num_workers=1,
    dataset=dict(
        num_images=10,
        pipeline=[
            dict(type="RandomResize", scale=[(48, 48), (80, 80)]),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PhotometricDistortion"),
            dict(type="EmptyImages", every=3),
        ],
    ),
)
val_data = dict(batch_size=1, dataset=dict(num_images=20))
train = dict(
    max_iters=40,
    checkpoint_interval=3,
    val_interval=10,
    ema=dict(decay=0.9, ramp_up=10),
    best_metric="bbox_mAP",
    clip_grad_norm=5.0,
    deterministic=True,
)
optimizer = dict(lr=5e-3)
schedule = dict(
    _delete_=True, type="MultiStepSchedule", milestones=[5], warmup_iters=8, warmup_factor=0.1
)
hooks = [dict(type="TellPhase")]
