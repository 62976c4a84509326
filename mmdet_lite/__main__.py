"""``python -m mmdet_lite``: the same as the command ``mmdet-lite``."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main()
