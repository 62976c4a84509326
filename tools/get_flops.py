"""Count a model's parameters and FLOPs. See --help; `mmdet-lite get-flops` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("get-flops")
