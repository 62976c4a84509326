"""Videos and cameras, read and written by OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from mmdet_lite.data.picture import Picture

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
_USUAL_FPS = 25.0  # where a camera does not tell
_CODEC = "mp4v"  # MPEG-4 part 2, the one that every build of OpenCV can write


class Video:
    """The frames of a video file or a camera, one after the other.

    A file is read from its first frame each time that it is iterated over.

    Args:
        source: path of a file, /dev/videoN, or the number of a camera.
        max_frames: stop after so many; None: at the end, which a camera has not.

    Attributes:
        fps: frames a second.
        num_frames: how many there should be, by the file's own account; None: unknown.
        count: frames given so far; their names count from 0.

    Raises:
        FileNotFoundError: there is no such file or camera.
        ValueError: the file is no video that OpenCV can read.
    """

    def __init__(self, source: str | int, max_frames: int | None = None):
        self.source = source
        self.max_frames = max_frames
        self.count = 0
        with self._opened() as capture:
            fps = capture.get(cv2.CAP_PROP_FPS)
            total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if 0 < fps < 1000 else _USUAL_FPS
        self.num_frames = None if self.is_camera or total <= 0 else total
        if max_frames is not None:
            self.num_frames = min(self.num_frames or max_frames, max_frames)

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera."""
        return is_camera(self.source)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"camera {self.source}" if isinstance(self.source, int) else str(self.source)

    def __iter__(self) -> Iterator[Picture]:
        self.count = 0
        with self._opened() as capture:
            while self.count != self.max_frames:
                is_read, frame = capture.read()
                if not is_read:
                    break
                self.count += 1
                image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                yield Picture(image, f"{self.name}, frame {self.count - 1}")
        if not self.count:
            raise ValueError(f"{self.name}: not one frame could be read; {_advice(self)}")

    @contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        if not self.is_camera and not Path(self.source).is_file():
            raise FileNotFoundError(f"video {str(self.source)!r} does not exist")
        with _without_messages():
            capture = cv2.VideoCapture(self.source)
        try:
            if not capture.isOpened():
                if self.is_camera:
                    raise FileNotFoundError(f"{self.name} cannot be opened; {_advice(self)}")
                size = Path(self.source).stat().st_size
                raise ValueError(
                    f"{self.name} cannot be opened as a video ({size} bytes); {_advice(self)}"
                )
            yield capture
        finally:
            capture.release()


class VideoWriter:
    """Writes a .mp4 file; its size is that of the first frame. For use in a ``with`` statement.

    Args:
        path: of the file; its folder is made.
        fps: frames a second.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path, fps: float):
        self.path = Path(path)
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8 RGB."""
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter_fourcc(*_CODEC)
            size = rgb.shape[1::-1]
            with _without_messages():
                self._writer = cv2.VideoWriter(str(self.path), codec, self.fps, size)
            if not self._writer.isOpened():
                raise OSError(
                    f"{self.path}: OpenCV cannot write a video of {size[0]} x {size[1]} pixels"
                )
        self._writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def is_camera(source: str | int) -> bool:
    """Whether it names a camera: a number, or /dev/videoN."""
    return isinstance(source, int) or re.fullmatch(r"/dev/video\d+", str(source)) is not None


def _advice(video: Video) -> str:
    if not video.is_camera:
        return "it is cut, damaged or no video: play it elsewhere, or convert it to .mp4"
    present = sorted(path.name for path in Path("/dev").glob("video*"))
    there = f"there are {', '.join(present)} in /dev" if present else "there is no /dev/video*"
    return f"{there}. Is it plugged in, is another program using it, may you read it?"


@contextmanager
def _without_messages() -> Iterator[None]:
    """OpenCV and FFmpeg write lines of their own where ours say what is wrong."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)
