# 300 epochs as YOLOv5 and YOLOv8 train from scratch. Their losses grow with the number of images in
# a step, so the learning rate is not scaled to it.
train = dict(
    max_epochs=300,
    val_interval=10,
    log_interval=50,
    clip_grad_norm=10.0,
    ema=dict(decay=0.9999, ramp_up=2000),
)
optimizer = dict(type="SGD", lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4)
param_groups = dict(norm_decay=0.0, bias_decay=0.0, split_biases=True)
schedule = dict(
    type="GroupWarmup",
    schedule=dict(type="LinearSchedule", final_factor=0.01),
    warmup_epochs=3,
    warmup_iters=100,  # at least
    warmup_factor=0.0,
    warmup_bias_factor=10.0,  # 0.1, of 0.01
    warmup_momentum=0.8,
)
