"""Videos: what is written is what is read; what cannot be read is an error that says so."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.data.video import Video, VideoWriter


@pytest.fixture
def path(tmp_path):
    """Five frames, each of one brightness, at 30 a second."""
    with VideoWriter(tmp_path / "new/grey.mp4", 30) as writer:
        for level in range(5):
            writer.write(np.full((48, 64, 3), 40 * level, np.uint8))
    return str(tmp_path / "new/grey.mp4")


def test_frames_come_in_order_with_their_rate(path):
    video = Video(path)
    assert (video.num_frames, video.fps, video.is_camera) == (5, 30, False)
    for _ in range(2):  # from the beginning each time
        frames = list(video)
        assert video.count == 5
        for level, frame in enumerate(frames):
            assert frame.image.shape == (48, 64, 3) and frame.name == f"{path}, frame {level}"
            assert abs(frame.image.mean() - 40 * level) < 4


def test_colours_stay_rgb(tmp_path):
    with VideoWriter(tmp_path / "red.mp4", 10) as writer:
        writer.write(np.full((48, 64, 3), (230, 30, 30), np.uint8))
    red, green, blue = next(iter(Video(str(tmp_path / "red.mp4")))).image.mean(axis=(0, 1))
    assert red > 200 and green < 60 and blue < 60


def test_frames_can_be_limited(path):
    video = Video(path, max_frames=2)
    assert len(list(video)) == video.num_frames == 2


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="video 'nothing.mp4' does not exist"):
        Video("nothing.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"bad.mp4 cannot be opened as a video \(3 bytes\)"):
        Video(str(tmp_path / "bad.mp4"))
    with pytest.raises(FileNotFoundError, match="camera 73 cannot be opened"):
        Video(73)


def test_opencv_and_ffmpeg_say_nothing_of_their_own(tmp_path, capfd):
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    for source in (str(tmp_path / "bad.mp4"), 73):
        with pytest.raises((ValueError, FileNotFoundError)):
            Video(source)
    assert capfd.readouterr().err == ""


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), VideoWriter(tmp_path / "file/v.mp4", 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
