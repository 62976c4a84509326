"""Save pictures of what the model will see. See --help; `mmdet-lite browse-dataset` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("browse-dataset")
