"""Check YOLO's anchors against the data. See --help; `mmdet-lite anchors` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("anchors")
