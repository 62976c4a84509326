# 300 epochs; the published settings of NanoDet-Plus.
train = dict(
    max_epochs=300,
    val_interval=10,
    log_interval=50,
    clip_grad_norm=35.0,
    ema=dict(decay=0.9998),
)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.05)
schedule = dict(type="CosineSchedule", final_factor=0.05, warmup_iters=500, warmup_factor=1e-4)
