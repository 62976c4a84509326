# 300 epochs as NanoDet-Plus trains; the learning rate is that of 96 images a step and is not
# scaled.
train = dict(
    max_epochs=300,
    val_interval=10,
    log_interval=50,
    clip_grad_norm=35,
    ema=dict(decay=0.9998, ramp_up=2000),
)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.05)
schedule = dict(type="CosineSchedule", final_factor=0.05, warmup_iters=500, warmup_factor=1e-4)
