"""mmdet_lite: object detection and instance segmentation, built from configs."""

__version__ = "0.1.0"
