"""Compare runs by their logs. See --help; `mmdet-lite analyze-logs` is the same."""

from mmdet_lite.cli import main

if __name__ == "__main__":
    main("analyze-logs")
