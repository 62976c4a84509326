"""Time the training step, or parts of it. See --help; `mmdet-lite benchmark` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("benchmark")
