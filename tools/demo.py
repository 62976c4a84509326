"""Train and evaluate a Mask R-CNN on shapes. See --help; `mmdet-lite demo` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("demo")
