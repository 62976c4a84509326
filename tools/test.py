"""Evaluate a checkpoint. See --help; `mmdet-lite test` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("test")
