"""Convert data sets between formats; see --help. Also `mmdet-lite convert`."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("convert")
