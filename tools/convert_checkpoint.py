"""Convert other frameworks' checkpoints; see --help. Also `mmdet-lite convert-checkpoint`."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("convert-checkpoint")
