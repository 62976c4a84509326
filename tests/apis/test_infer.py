"""``mmdet-lite infer``: what it writes, how it names files, and what it says of bad inputs.

Run with: pytest tests/apis/test_infer.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmdet_lite.apis.infer_plan import make_plan
from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.video import Video, VideoWriter
from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint

FPS = 12.5


@pytest.fixture(scope="module")
def checkpoint(trained: Path) -> Path:
    return trained / "iter_2.pth"


@pytest.fixture
def inputs(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder: a/ and b/ with a picture of the same name each, and moving.mp4."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(name).mkdir()
        shutil.copy(shapes / "images/000001.png", f"{name}/one.png")
    with VideoWriter("moving.mp4", FPS) as writer:
        for place in range(7):
            frame = np.full((64, 96, 3), 120, np.uint8)
            cv2.circle(frame, (20 + 5 * place, 30), 12, (200, 40, 40), -1)
            writer.write(frame)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def planned(*inputs: str, overwrite: bool = False) -> dict[str, str]:
    plan = make_plan(inputs, Path("out"), False, overwrite)
    pairs = (plan.images | plan.videos | plan.cameras).items()
    return {str(source): target.relative_to("out").as_posix() for source, target in pairs}


def test_pictures_videos_and_json_are_written(run_cli, checkpoint, inputs, caplog):
    options = ("--out", "out", "--json", "--score", "0.0", "--batch", "2")
    result = run_cli("infer", checkpoint, "a", "b/*.png", "moving.mp4", *options)
    assert result.code == 0, result.err
    written = sorted(p.relative_to("out").as_posix() for p in Path("out").rglob("*.*"))
    assert written == ["a/one.png", "b/one.png", "detections.json", "moving.mp4"]
    assert cv2.imread("out/a/one.png").shape == (448, 448, 3)  # enlarged, so that it can be read
    video = Video("out/moving.mp4")
    assert (len(list(video)), video.fps) == (7, FPS)
    assert "2/2 images" in result.out and "7/7 frames" in result.out

    content = json.loads(Path("out/detections.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a/one.png", "b/one.png"] + [
        "moving.mp4"
    ] * 7
    assert [image.get("frame_index") for image in content["images"]] == [None, None, *range(7)]
    assert content["categories"][0] == {"id": 1, "name": "circle"}
    assert content["info"]["image_dir"] == str(inputs)
    assert f"{len(content['annotations'])} objects with a score from 0 on" in caplog.text


def test_json_can_be_evaluated_and_trained_on(run_cli, checkpoint, inputs):
    run_cli("infer", checkpoint, "a", "b", "--out", "out", "--json", "--score", "0.05")
    coco = COCO("out/detections.json")
    assert len(coco.anns) > 0
    assert len(coco.loadRes(list(coco.anns.values())).anns) == len(coco.anns)
    dataset = CocoDataset("out/detections.json", ".", with_masks=True, bad_annotations="skip")
    assert len(dataset) == 2 and dataset.classes[0] == "circle"


def test_a_high_score_finds_nothing_and_says_so(run_cli, checkpoint, inputs, caplog):
    run_cli("infer", checkpoint, "a", "--out", "out", "--score", "1")
    assert "0 objects with a score from 1 on in 1 images or frames" in caplog.text
    assert "a lower --score shows more" in caplog.text


def test_max_frames_ends_a_video(run_cli, checkpoint, inputs):
    assert run_cli("infer", checkpoint, "moving.mp4", "--out", "o", "--max-frames", "3").code == 0
    assert len(list(Video("o/moving.mp4"))) == 3


def test_bad_inputs_are_passed_over_and_named_at_the_end(cli_error, checkpoint, inputs):
    Path("a/cut.png").write_bytes(Path("a/one.png").read_bytes()[:-40])
    Path("bad.mp4").write_bytes(b"no video at all")
    message = cli_error("infer", checkpoint, "a", "bad.mp4", "moving.mp4", "--out", "out")
    first, *lines = message.splitlines()
    assert first == "2 of 4 inputs could not be read, or not completely:"
    assert lines[0].startswith("image file a/cut.png is truncated or damaged")
    assert lines[0].endswith("fetch it again, or leave it out")
    assert lines[1].startswith("bad.mp4 cannot be opened as a video (15 bytes)")
    assert Path("out/a/one.png").exists() and Path("out/moving.mp4").exists()
    assert not Path("out/a/cut.png").exists() and not Path("out/bad.mp4").exists()


def test_a_video_that_ends_early_is_told(cli_error, checkpoint, inputs, monkeypatch):
    opened = cv2.VideoCapture

    class Cut:
        def __init__(self, source):
            self.capture, self.left = opened(source), 4

        def read(self):
            self.left -= 1
            return self.capture.read() if self.left >= 0 else (False, None)

        def __getattr__(self, name):
            return getattr(self.capture, name)

    monkeypatch.setattr(cv2, "VideoCapture", Cut)
    message = cli_error("infer", checkpoint, "moving.mp4", "--out", "out")
    assert "moving.mp4: ended after 4 of 7 frames; it is cut or damaged" in message
    monkeypatch.undo()
    assert len(list(Video(inputs / "out/moving.mp4"))) == 4


def test_a_camera_that_is_not_there_is_told(cli_error, checkpoint, inputs):
    message = cli_error("infer", checkpoint, "73", "--out", "out")
    assert "camera 73 cannot be opened; " in message and "/dev" in message
    message = cli_error("infer", checkpoint, "/dev/video73", "--out", "out")
    assert "/dev/video73 cannot be opened; " in message
    assert not Path("out").exists()


def test_what_is_there_after_an_interruption_stays(run_cli, checkpoint, inputs, monkeypatch):
    write = VideoWriter.write
    frames = []

    def interrupted(self, rgb):
        if len(frames) == 3:
            raise KeyboardInterrupt
        frames.append(write(self, rgb))

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    assert run_cli("infer", checkpoint, "moving.mp4", "--out", "out", "--json").code == 130
    assert len(list(Video("out/moving.mp4"))) == 3
    assert len(json.loads(Path("out/detections.json").read_text())["images"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg"], "'nothing.jpg' does not exist (looked for "),
        (["empty"], "no images or videos in the folder 'empty'"),
        (["c/*.jpg"], "no file matches 'c/*.jpg'"),
        (["a", "--score", "1.5"], "score_threshold must be between 0 and 1, got 1.5"),
        (["a", "--device", "cuda:97"], "device 'cuda:97' cannot be used"),
        (["a", "--out", "moving.mp4"], "--out 'moving.mp4' is a file, expected a folder"),
        (["a", "--out", "a", "--overwrite"], "would replace inputs by pictures of them: a/one.png"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    cli_error, checkpoint, inputs, arguments, message
):
    Path("empty").mkdir()
    before = sorted(inputs.rglob("*"))
    assert message in cli_error("infer", checkpoint, "--out", "out", *arguments)
    assert sorted(inputs.rglob("*")) == before


def test_a_checkpoint_without_config_is_refused(cli_error, run_cli, checkpoint, inputs):
    save_checkpoint({"model": load_checkpoint(checkpoint)["model"]}, inputs / "bare.pth")
    message = cli_error("infer", "bare.pth", "a", "--out", "out")
    assert "bare.pth does not hold the config of its model" in message and "--config" in message
    config = Path(__file__).parent / "tiny_config.py"
    assert run_cli("infer", "bare.pth", "a", "--out", "out", "--config", config).code == 0


def test_nothing_is_overwritten_without_being_told_to(cli_error, run_cli, checkpoint, inputs):
    touch("out/one.png")
    message = cli_error("infer", checkpoint, "a", "--out", "out")
    assert message.startswith("1 of 1 files to write exist: out/one.png; give another --out")
    assert Path("out/one.png").read_bytes() == b"x"
    assert run_cli("infer", checkpoint, "a", "--out", "out", "--overwrite").code == 0
    assert cv2.imread("out/one.png") is not None


def test_folders_below_the_common_one_are_kept(inputs):
    touch("in/x/1.jpg", "in/y/1.jpg", "in/2.bmp", "in/v.avi")
    assert planned("in") == {
        "in/2.bmp": "2.bmp.png",
        "in/v.avi": "v.avi.mp4",
        "in/x/1.jpg": "x/1.jpg",
        "in/y/1.jpg": "y/1.jpg",
    }
    assert planned("in/x/1.jpg") == {"in/x/1.jpg": "1.jpg"}
    assert planned("in/x", "in/y") == {"in/x/1.jpg": "x/1.jpg", "in/y/1.jpg": "y/1.jpg"}


def test_names_never_collide(inputs):
    touch("in/1.bmp", "in/1.bmp.png", "camera_0.mp4")
    targets = planned("in", "camera_0.mp4", "0", "/dev/video0")
    assert len(set(targets.values())) == len(targets) == 5
    assert targets["in/1.bmp"] == "in/1.bmp.png" and targets["in/1.bmp.png"] == "in/1.bmp_2.png"
    assert targets["0"] == "camera_0_2.mp4"


def test_a_file_that_is_named_twice_is_one(inputs):
    assert planned("a/one.png", "a", "./a/../a/one.png") == {"a/one.png": "one.png"}


def test_a_file_may_have_the_name_of_a_camera(inputs):
    touch("0")
    assert planned("0") == {"0": "0.png"}
