"""List and download released models. See --help; `mmdet-lite zoo` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("zoo")
