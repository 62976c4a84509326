# The Mask R-CNN of these tests for two processes: shorter, and each process tells where it is.
_base_ = "fault_config.py"
custom_imports = dict(imports=["fault_hooks", "process_hooks"])
train_data = dict(batch_size=2, dataset=dict(num_images=20))
val_data = dict(batch_size=2, dataset=dict(num_images=6))
train = dict(max_iters=18, checkpoint_interval=4, val_interval=7, log_interval=1, keep_last=9)
schedule = dict(milestones=[2])
hooks = [dict(type="Announce")]
distributed = dict(timeout=600)
