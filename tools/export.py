"""Write a detector as ONNX or torch.export. See --help; `mmdet-lite export` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("export")
