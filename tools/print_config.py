"""Print a config with its bases resolved. See --help; `mmdet-lite print-config` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("print-config")
