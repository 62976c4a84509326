"""Where a run is shown beside its own files. Importing this package fills the registry."""

from mmdet_lite.engine.writers import mlflow_writer as mlflow_writer
from mmdet_lite.engine.writers import tensorboard_writer as tensorboard_writer
from mmdet_lite.engine.writers import wandb_writer as wandb_writer
