# 300 epochs, of which three are warm-up, linearly down to a hundredth. The losses grow with the
# batch, so the learning rate is not scaled; it is that of about 64 images a step.
train = dict(
    max_epochs=300,
    val_interval=10,
    checkpoint_interval=1,
    clip_grad_norm=10.0,
    ema=dict(decay=0.9999, ramp_up=2000),
)
optimizer = dict(type="SGD", lr=0.01, momentum=0.937, weight_decay=5e-4, nesterov=True)
param_groups = dict(norm_decay=0.0, bias_decay=0.0)
schedule = dict(
    type="OneCycleSchedule",
    warmup_share=0.01,
    initial_factor=0.001,
    final_factor=0.01,
    shape="linear",
)
