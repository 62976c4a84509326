"""Find what is wrong with a data set. See --help; `mmdet-lite doctor` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("doctor")
