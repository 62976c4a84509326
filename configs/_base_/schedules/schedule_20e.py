# 20 epochs; the learning rate is that of 16 images a step and is scaled to the actual number.
train = dict(max_epochs=20, val_interval=1, log_interval=50)
optimizer = dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
schedule = dict(type="MultiStepSchedule", milestones=[16, 19], gamma=0.1, warmup_iters=500)
auto_scale_lr = dict(enable=True, base_batch_size=16)
