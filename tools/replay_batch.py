"""Run a batch again whose loss was not finite. See --help; same as `mmdet-lite replay-batch`."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("replay-batch")
