"""The training loop and what it needs. Importing this package fills the registries."""

from mmdet_lite.engine import hooks as hooks
from mmdet_lite.engine import optimizer as optimizer
from mmdet_lite.engine import schedule as schedule
