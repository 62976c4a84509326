"""Time the training step of a config. See --help; `mmdet-lite benchmark` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("benchmark")
