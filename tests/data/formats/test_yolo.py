"""YOLO's text files: what is read, what is wrong, what is written."""

from __future__ import annotations

import pytest
from coco_views import names, objects, sizes

from mmdet_lite.data.formats import ReadOptions, read_dataset, write_dataset


@pytest.fixture
def yolo(write, draw, tmp_path):
    """Two images of 40 x 60 in 'train', the second without labels; one in 'val'."""
    write("set/data.yaml", "train: images/train\nval: images/val\nnames: [rose, tulip]\nnc: 2\n")
    draw("set/images/train/a.png"), draw("set/images/train/b.jpg"), draw("set/images/val/c.png")
    write("set/labels/train/a.txt", "1 0.5 0.5 0.2 0.1\n0 0.1 0.1 0.5 0.1 0.5 0.5\n\n")
    write("set/labels/val/c.txt", "")
    return tmp_path / "set"


def failure(path, **options):
    with pytest.raises(ValueError) as error:
        read_dataset(path, options=ReadOptions("train", **options))
    return str(error.value).splitlines()


def test_boxes_and_polygons_are_in_pixels(yolo):
    source = read_dataset(yolo, options=ReadOptions("train"))
    assert objects(source.content, "segmentation", "area") == {
        "a.png": [
            ("tulip", [24, 18, 12, 4], None, 48),
            ("rose", [6, 4, 24, 16], [[6, 4, 30, 4, 30, 20]], 192),
        ],
        "b.jpg": [],
    }
    assert sizes(source.content) == {"a.png": (40, 60), "b.jpg": (40, 60)}
    assert names(source.content) == ["rose", "tulip"]
    assert source.content["images"][0]["file_name"] == "images/train/a.png"
    assert source.image_dir == yolo
    assert source.notes == ["1 of 2 images have no file of labels: no objects"]


@pytest.mark.parametrize(
    ("yaml", "split"),
    [
        ("path: set\ntrain: images/train\nnames: {0: rose, 1: tulip}\n", None),
        ("train: ../images/train\nnames: [rose, tulip]\n", None),  # as exports write it
        ("train: [images/train, images/val]\nnames: [rose, tulip]\n", "train"),
        ("train: [lists/dotted.txt, lists/plain.txt]\nnames: [rose, tulip]\n", "train"),
    ],
    ids=["path and dict", "export", "folders", "lists"],
)
def test_the_ways_to_say_where_images_are(yolo, write, monkeypatch, tmp_path, yaml, split):
    monkeypatch.chdir(tmp_path)
    write("set/lists/dotted.txt", "./../images/train/a.png\n\n")
    write("set/lists/plain.txt", "images/train/b.jpg\n")
    write("set/data.yaml", yaml)
    content = read_dataset(yolo / "data.yaml", options=ReadOptions(split)).content
    assert [len(of_image) for of_image in objects(content).values()][:2] == [2, 0]


def test_a_yaml_elsewhere_and_labels_beside_images(write, draw, tmp_path):
    draw("pictures/a.png")
    write("pictures/a.txt", "0 0.5 0.5 1 1\n")
    write("configs/mine.yaml", f"path: {tmp_path}\ntrain: pictures\nnames: [rose]\n")
    source = read_dataset(tmp_path / "configs")
    assert objects(source.content) == {"a.png": [("rose", [0, 0, 60, 40])]}


def test_exif_orientation_turns_the_image(yolo):
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40)).save(yolo / "images/val/c.png", exif=exif)
    source = read_dataset(yolo, options=ReadOptions("val"))
    assert sizes(source.content) == {"c.png": (60, 40)}


def test_labels_that_count_from_1_are_suspected(yolo, write):
    file = write("set/labels/train/a.txt", "1 0.5 0.5 0.2 0.1\n2 0.5 0.5 0.2 0.1\n")
    assert failure(yolo) == [
        f"YOLO data set {yolo}/data.yaml cannot be read:",
        "- labels out of range (1):",
        f"    {file}:2: label 2 but names has 0..1",
        "  'names' has 0..1, and all labels are in 1..2: they were probably counted from 1. "
        "Subtract 1 from every label.",
    ]
    write("set/labels/train/a.txt", "2 0.5 0.5 0.2 0.1\n")
    assert "all labels are in 1..2" in failure(yolo)[-1]
    write("set/labels/train/a.txt", "0 0.5 0.5 0.2 0.1\n2 0.5 0.5 0.2 0.1\n")
    assert failure(yolo)[-1] == "  'names' has 2 names, labels 0..1."


def test_labels_without_0_are_doubted(yolo, write):
    write("set/labels/train/a.txt", "1 0.5 0.5 0.2 0.1\n")
    notes = read_dataset(yolo, options=ReadOptions("train")).notes
    says = "no object has label 0, 'rose'; labels go from 1 to 1: were they counted from 1? Look "
    assert any(note.startswith(says) for note in notes)


def test_every_wrong_line_is_listed(yolo, write):
    lines = {
        "0 0.5 0.5 0.2": "4 numbers; is the label missing?",
        "0 0.5 0.5 0.2 0.1 0.97": "6 numbers; is the last one a score? Labels have none",
        "0 0.5 0.5 0.2 0.1 0.97 0.1 0.1": "8 numbers; a polygon has a label and pairs",
        "0 0.5": "2 numbers, expected 5 for a box",
        "rose 0.5 0.5 0.2 0.1": None,
        "0.5 0.5 0.5 0.2 0.1": None,
        "0 320 200 64 20": None,
        "0 nan 0.5 0.2 0.1": None,
        "0 0.5 0.5 0 0.1": None,
    }
    file = write("set/labels/train/a.txt", "\n".join(lines))
    message = failure(yolo)
    for number, (line, fault) in enumerate(lines.items(), start=1):
        if fault:
            shown = " ".join(line.split()[:6]) + (" ..." if len(line.split()) > 6 else "")
            assert f"    {file}:{number}: {shown}: {fault}" in message
    assert f"    {file}:5: rose 0.5 0.5 0.2 0.1" in message
    place = message.index("- labels that are no whole number (1):")
    assert message[place + 1] == f"    {file}:6: 0.5 0.5 0.5 0.2 0.1"
    place = message.index("- coordinates outside 0..1 (2):")
    assert message[place + 1] == f"    {file}:7: 0 320 200 64 20"
    assert message[place + 3].endswith("width and height, 0..1. Are these pixels?")
    assert any(f"{file}:9: 'rose' from x1, y1, x2, y2 = 30, 18, 30, 22" in m for m in message)


def test_labels_that_are_nowhere_and_images_that_are_none(yolo):
    (yolo / "labels/train/a.txt").unlink()
    assert failure(yolo)[2] == (
        f"    2 images, none with labels; those of the last one: {yolo}/labels/train/b.txt"
    )
    (yolo / "images/train/b.jpg").write_text("no image")
    assert failure(yolo)[2].startswith(f"    {yolo}/images/train/b.jpg: cannot identify image file")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("- a\n- b\n", "holds list, expected keys: names, train, val"),
        ("names: [a\n", "is not YAML: "),
        ("train: images/train\nnames: []\n", r"names is \[\]"),
        ("train: images/train\nnames: {1: a, 2: b}\n", r"1, 2; expected 0..1"),
        ("train: images/train\nnames: [a, b, a]\n", "yaml: a\n  Every name must be unique"),
        ("train: images/train\nnames: [a]\nnc: 3\n", "nc is 3, but names has 1"),
        ("train: images/train\nval: x\nnames: [a]\n", "choose one with --split .*: train, val"),
        ("names: [a]\n", "choose one with --split .*: none"),
    ],
)
def test_what_is_wrong_with_the_yaml(yolo, write, yaml, message):
    write("set/data.yaml", yaml)
    with pytest.raises(ValueError, match=message):
        read_dataset(yolo)


def test_paths_that_lead_nowhere_are_all_named(yolo, write, tmp_path):
    write("set/data.yaml", "path: there\ntrain: x\nnames: [a]\n")
    with pytest.raises(FileNotFoundError) as error:
        read_dataset(yolo)
    assert f"looked for {yolo}/there/x, there/x, {yolo}/x" in str(error.value)
    write("set/data.yaml", "train: [images/train, y]\nnames: [a, b]\n")
    assert f"    {yolo}/y" in failure(yolo)
    with pytest.raises(FileNotFoundError, match="has no data.yaml"):
        read_dataset(tmp_path, "yolo")


def test_what_is_written_is_read_again(round_trip, content):
    content["annotations"][0]["segmentation"] = [[10, 5, 40, 5, 40, 25]]
    content["annotations"][0]["area"] = 300
    lost, back = round_trip(content, "yolo")
    assert lost == ["1 crowds are not written: YOLO has none"]
    content["annotations"].pop()
    keys = ("segmentation", "area", "iscrowd")
    assert objects(back.content, *keys) == objects(content, *keys)
    assert sizes(back.content) == sizes(content)
    assert names(back.content) == ["rose", "tulip", "weed"]
    assert [i["file_name"] for i in back.content["images"]] == [
        "images/train/a/nine.png",
        "images/train/four.png",
    ]


def test_area_of_polygons_that_become_one_is_their_sum(round_trip, content):
    one, other = content["annotations"][0]["segmentation"]
    content["annotations"][0]["segmentation"] = [one, other[4:] + other[2:4] + other[:2]]
    _, back = round_trip(content, "yolo")
    assert back.content["annotations"][0]["area"] == content["annotations"][0]["area"] == 222.5


def test_polygons_of_one_object_become_one(round_trip, content):
    _, back = round_trip(content, "yolo")
    joined = back.content["annotations"][0]
    (polygon,) = joined["segmentation"]
    assert polygon == [10, 5, 30, 5, 30, 25, 10, 5, 34, 5, 40, 5, 40, 12.5, 34, 5, 10, 5]
    assert joined["bbox"] == [10, 5, 30, 20]


def test_run_lengths_and_missing_masks_leave_boxes(round_trip, content):
    del content["annotations"][1]["segmentation"]
    lost, back = round_trip(content, "yolo")
    assert "1 masks are not written, only boxes: YOLO needs polygons for all objects" in lost
    assert objects(back.content, "segmentation")["nine.png"] == [
        ("rose", [10, 5, 30, 20], None),
        ("tulip", [1.5, 2.25, 8, 9.75], None),
    ]


def test_another_split_must_have_the_same_classes(round_trip, content, tmp_path):
    source = round_trip(content, "yolo")[1]
    write_dataset(source, tmp_path / "out", "yolo", "val")
    for split in ("train", "val"):
        back = read_dataset(tmp_path / "out", options=ReadOptions(split))
        assert objects(back.content) == objects(source.content)
    with pytest.raises(FileExistsError, match="images/val is there already"):
        write_dataset(source, tmp_path / "out", "yolo", "val")
    source.content["categories"].reverse()
    with pytest.raises(ValueError, match="has the classes .*, these are .*'weed', 'tulip'"):
        write_dataset(source, tmp_path / "out", "yolo", "test")
    with pytest.raises(ValueError, match="YOLO's splits are train, val, test, got 'dev'"):
        write_dataset(source, tmp_path / "out", "yolo", "dev")
