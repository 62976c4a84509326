# For small detectors on procedural shapes, from random weights: minutes on a CPU.
train = dict(
    max_iters=600,
    val_interval=300,
    log_interval=20,
    clip_grad_norm=10.0,
)
optimizer = dict(type="AdamW", lr=2e-3, weight_decay=0.05)
param_groups = dict(norm_decay=0.0, bias_decay=0.0)
schedule = dict(type="OneCycleSchedule", warmup_share=0.1)
