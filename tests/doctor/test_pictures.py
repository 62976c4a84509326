import base64
import io

import pytest
from image_corpus import encode
from PIL import Image

from mmdet_lite.data.findings import Finding
from mmdet_lite.doctor import pictures
from mmdet_lite.doctor.pictures import PictureSource, pick_pictures

BOX = [10, 20, 30, 40]


@pytest.fixture
def source(tmp_path) -> PictureSource:
    """Ten images of 80 x 60; the last is no image."""
    names = [f"{i}.jpg" for i in range(10)]
    for name in names:
        (tmp_path / name).write_bytes(encode("JPEG"))
    (tmp_path / names[-1]).write_bytes(b"<html>")
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    annotations = [{"id": 100 + i, "image_id": i, "bbox": BOX} for i in range(10)]
    annotations += [{"id": 200, "image_id": 0, "bbox": [1, 2, 3, 4]}]
    annotations += [{"id": 201, "image_id": 0, "bbox": None}, {"id": [], "image_id": {}}, 5]
    content = {"images": [*images, {"id": 11}, None], "annotations": annotations}
    return PictureSource(str(tmp_path / "train.json"), f"{tmp_path}/", content)


def about_box(source, id, severity="warning"):
    return Finding(severity, "box_outside", source.ann_file, id, f"box {id}", "fix")


def about_image(source, id, severity="error", kind="size_mismatch"):
    return Finding(severity, kind, f"{source.image_dir}{id}.jpg", id, "m", "fix")


def test_picture_shows_the_box_in_question_and_the_others(source):
    found = pick_pictures([about_box(source, 100)], [source])
    (picture,) = found["warning", "box_outside"]
    assert picture.title == "0.jpg (id 0)" and picture.size == (80, 60)
    assert picture.boxes == (tuple(BOX),) and picture.other_boxes == ((1, 2, 3, 4),)
    assert picture.messages == ("box 100",)
    content = base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (80, 60)


def test_finding_about_an_image_shows_all_its_boxes(source):
    (picture,) = pick_pictures([about_image(source, 0)], [source])["error", "size_mismatch"]
    assert picture.boxes == () and set(picture.other_boxes) == {tuple(BOX), (1, 2, 3, 4)}


def test_worst_images_come_first_and_few_of_a_group(source):
    findings = [about_box(source, 100 + i) for i in range(9)] + [about_image(source, 5)]
    found = pick_pictures(findings, [source])
    titles = [picture.title for picture in found["warning", "box_outside"]]
    assert titles == ["5.jpg (id 5)", "0.jpg (id 0)", "1.jpg (id 1)", "2.jpg (id 2)"]
    assert len(found["error", "size_mismatch"]) == 1


def test_pictures_are_limited(source):
    findings = [about_box(source, 100 + i, s) for i in range(9) for s in ("error", "note")]
    assert sum(map(len, pick_pictures(findings, [source], limit=5).values())) == 5


def test_same_ids_in_two_splits_are_told_apart(source, tmp_path):
    content = {"images": [{"id": 0, "file_name": "3.jpg"}], "annotations": []}
    other = PictureSource(str(tmp_path / "val.json"), str(tmp_path), content)
    finding = Finding("note", "image_unusual", other.ann_file, 0, "m", "fix")
    (picture,) = pick_pictures([finding], [source, other])["note", "image_unusual"]
    assert picture.title == "3.jpg (id 0)"


def test_images_that_may_crash_a_decoder_are_not_decoded(source, monkeypatch):
    monkeypatch.setattr(pictures, "decode_image", lambda *_: pytest.fail("decoded"))
    findings = [about_image(source, 3, kind="image_corrupt"), about_image(source, 3)]
    assert pick_pictures(findings, [source]) == {}


@pytest.mark.parametrize("limit", [100, 4800])
def test_images_that_are_too_large_are_not_decoded(source, monkeypatch, limit):
    monkeypatch.setattr(pictures, "_MOST_PIXELS", limit)
    assert bool(pick_pictures([about_image(source, 3)], [source])) == (limit == 4800)


def test_what_has_no_picture_is_passed_over(source):
    findings = [
        about_image(source, 9),  # not an image
        about_image(source, 77),
        about_box(source, 999),
        Finding("error", "json_invalid", "elsewhere.json", None, "m", "fix"),
        Finding("note", "class_unused", source.ann_file, 0, "m", "fix"),
    ]
    assert pick_pictures(findings, [source]) == {}


def test_large_images_become_small_pictures(source, tmp_path):
    (tmp_path / "0.jpg").write_bytes(encode("JPEG", Image.new("RGB", (2000, 1000))))
    (picture,) = pick_pictures([about_image(source, 0)], [source])["error", "size_mismatch"]
    assert picture.size == (2000, 1000)
    content = base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (360, 180)
