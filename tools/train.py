"""Train a detector from a config. See --help; `mmdet-lite train` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("train")
