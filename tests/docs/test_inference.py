"""docs/inference.md: its Python runs, and the messages and arguments it lists are the code's."""

from __future__ import annotations

import argparse
import inspect
import re

import cv2
import numpy as np

from mmdet_lite import cli
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.inference import load
from mmdet_lite.apis.train import train
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.video import Video, VideoWriter

PAGE = "docs/inference.md"
DEMO = "configs/demo/mask-rcnn_r18_fpn_shapes.py"


def test_snippets_run(read_page, workspace, small, capsys):
    cfg = load_config(DEMO, small | {"model.roi_head.mask_head.conv_out_channels": 8})
    train(cfg, workspace / "work_dirs/first")
    ShapesDataset(2, (64, 64), data_seed=1).write(workspace)
    (workspace / "images").rename(workspace / "my_photos")
    (workspace / "my_videos").mkdir()
    with VideoWriter("my_videos/moving.mp4", 10) as writer:
        for level in range(3):
            writer.write(np.full((64, 64, 3), 60 * level, np.uint8))
    capsys.readouterr()

    names: dict = {}
    for block in read_page(PAGE).blocks("python"):
        exec(block, names)
    out = capsys.readouterr().out
    assert "Detections of my_photos/000001.png (64 x 64)" in out
    assert re.search(r"^my_photos/000002.png \d+$", out, re.M)
    assert cv2.imread("my_pictures/000001.png").shape == (448, 448, 3) == names["picture"].shape
    assert all(entry["image_id"] == 17 for entry in names["entries"])
    assert len(list(Video("my_pictures/moving.mp4"))) == 3


def test_arguments_are_those_of_the_code(read_page):
    text = read_page(PAGE).text
    table = text[text.index("`load` takes:") : text.index("The model takes:")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(inspect.signature(load).parameters)
    parser = argparse.ArgumentParser(add_help=False)
    cli.COMMANDS["infer"].add_arguments(parser)
    table = text[text.index("| `--out DIR` |") : text.index("- **Names.**")]
    options = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"`(--[\w-]+)", table.replace("`--overwrite` lets", ""))) == options


def test_messages_are_the_codes(read_page):
    """Every part of a listed message between its dots stands in the code."""
    import mmdet_lite.apis.infer
    import mmdet_lite.apis.infer_plan
    import mmdet_lite.apis.inference
    import mmdet_lite.apis.saved_model
    import mmdet_lite.data.image_io
    import mmdet_lite.data.image_sources
    import mmdet_lite.data.video

    apis, data = mmdet_lite.apis, mmdet_lite.data
    modules = (
        *(apis.infer, apis.infer_plan, apis.inference, apis.saved_model),
        *(data.image_io, data.image_sources, data.video),
    )
    code = "".join(inspect.getsource(module) for module in modules)
    code = re.sub(r'"\s+f?"', "", code)  # texts that are broken into lines
    text = read_page(PAGE).text
    table = text[text.index("## Messages") :]
    messages = [
        m for row in re.findall(r"^\| (`.+?`) \|", table, re.M) for m in row.split("`")[1::2]
    ]
    parts = [part.strip(" ()") for message in messages for part in message.split("...")]
    assert len(messages) > 8
    assert not [part for part in parts if part not in code]
