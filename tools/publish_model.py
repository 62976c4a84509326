"""Write a model's weights to pass on. See --help; `mmdet-lite publish-model` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("publish-model")
