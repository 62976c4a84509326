"""Images that are near where they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmdet_lite.data.coco_checks import check_image_files
from mmdet_lite.data.coco_columns import Images
from mmdet_lite.data.moved_images import where_images_lie
from mmdet_lite.data.problems import Problems

NAMES = [f"{i}.jpg" for i in range(30)]


def put(folder: Path, names=NAMES) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("place", ["images/train", "images/a/train", ".", "train"])
@pytest.mark.parametrize("is_there", [True, False])
def test_files_in_a_folder_nearby_are_found(place, is_there, tmp_path):
    put(tmp_path / place, ["0.jpg", *NAMES[3:]])
    if is_there:
        (tmp_path / "images").mkdir(exist_ok=True)
    found = where_images_lie(tmp_path / "images", NAMES, len(NAMES))
    folder = tmp_path / place
    assert found == f"0.jpg lies in {folder}/: set image_dir (--images of the doctor) to that."


@pytest.mark.parametrize(
    ("place", "names", "says"),
    [
        ("images", NAMES, "0.jpg lies in {}/images/: correct 'file_name', which has train/ before"),
        (".", [f"train/{name}" for name in NAMES], "train/0.jpg lies in {}/: set image_dir"),
    ],
)
def test_names_with_a_folder_are_found_without_and_with_it(place, names, says, tmp_path):
    put(tmp_path / place, names)
    found = where_images_lie(tmp_path / "images", [f"train/{name}" for name in NAMES], 30)
    assert found.startswith(says.format(tmp_path))


def test_other_folders_are_not_named(tmp_path):
    put(tmp_path / "images/few", NAMES[:4])
    put(tmp_path / "far/away/train")
    assert where_images_lie(tmp_path / "images", NAMES, 30) is None
    put(tmp_path / "images/train")
    assert where_images_lie(tmp_path / "images", NAMES[:14], 30) is None  # fewer than half
    assert where_images_lie(tmp_path / "images", [], 0) is None


def test_a_data_set_that_cannot_be_loaded_says_where_its_images_are(tmp_path):
    put(tmp_path / "train2017")
    ids = np.arange(30)
    images = Images([], ids, NAMES, np.ones((30, 2), np.int64), ids)
    for folder in (tmp_path, tmp_path / "none"):
        check_image_files(folder, images, problems := Problems("a.json"))
        with pytest.raises(ValueError, match=f"0.jpg lies in {tmp_path}/train2017/: set image_dir"):
            problems.raise_if_any("cannot be used")
