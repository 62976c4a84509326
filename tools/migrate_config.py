"""Rewrite a config of MMDetection. See --help; `mmdet-lite migrate-config` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("migrate-config")
