"""Show what learns what in a training image. See --help; `mmdet-lite targets` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("targets")
