"""Detect objects in images, videos or a camera's. See --help; `mmdet-lite infer` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("infer")
