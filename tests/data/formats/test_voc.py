"""Pascal VOC: what is read, what is wrong, what is written."""

from __future__ import annotations

import pytest
from coco_views import names, objects, sizes

from mmdet_lite.data.formats import ReadOptions, read_dataset
from mmdet_lite.data.formats.voc import VOC_CLASSES

SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"


def obj(name, box, difficult=None):
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
    flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    # the name and box of a part are not the object's
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    return f"<object><name>{name}</name>{part}<bndbox>{inner}</bndbox>{flag}</object>"


def xml(*objects, filename="", size=SIZE):
    lines = "\n".join(objects)
    return f"<annotation><filename>{filename}</filename>\n{size}\n{lines}\n</annotation>"


@pytest.fixture
def voc(write, draw, tmp_path):
    """VOC2007 with two lists: 'train' of one image, 'val' of two."""
    write("VOC/Annotations/1.xml", xml(obj("dog", (11, 6, 30, 25)), obj("cat", (1, 1, 9, 9), 1)))
    write("VOC/Annotations/2.xml", xml())
    write("VOC/Annotations/3.xml", xml(obj("horse", (1.5, 2, 60, 40), 0)))
    write("VOC/ImageSets/Main/train.txt", "1\n")
    write("VOC/ImageSets/Main/val.txt", "2\n3\n")
    write("VOC/ImageSets/Main/cat_train.txt", "1  1\n")
    for number in "123":
        draw(f"VOC/JPEGImages/{number}.jpg")
    return tmp_path / "VOC"


def test_pixels_count_from_1_and_a_box_includes_its_last(voc):
    source = read_dataset(voc, options=ReadOptions("train"))
    expected = [("dog", [10, 5, 20, 20], 0), ("cat", [0, 0, 9, 9], 1)]  # the difficult one: a crowd
    assert objects(source.content, "iscrowd") == {"1.jpg": expected}
    assert sizes(source.content) == {"1.jpg": (40, 60)}
    assert source.image_dir == voc / "JPEGImages"
    assert source.format == "voc"
    assert source.notes == []


def test_a_list_chooses_the_images(voc):
    source = read_dataset(voc / "ImageSets/Main/val.txt")
    assert objects(source.content) == {"2.jpg": [], "3.jpg": [("horse", [0.5, 1, 59.5, 39])]}
    message = "VOC has several splits; choose one with --split .*: train, val"
    with pytest.raises(ValueError, match=message):
        read_dataset(voc)
    with pytest.raises(ValueError, match="has no split 'test'; there are: train, val"):
        read_dataset(voc, options=ReadOptions("test"))
    with pytest.raises(ValueError, match="'1  1'\n  This is a list of one class, perhaps"):
        read_dataset(voc / "ImageSets/Main/cat_train.txt")


def test_classes_are_vocs_if_all_names_are(voc):
    assert names(read_dataset(voc, options=ReadOptions("train")).content) == list(VOC_CLASSES)


def test_splits_agree_on_classes_of_their_own(voc, write):
    write("VOC/Annotations/3.xml", xml(obj("zebra", (1, 1, 9, 9)), obj("ant", (1, 1, 9, 9))))
    for split in ("train", "val"):
        content = read_dataset(voc, options=ReadOptions(split)).content
        assert names(content) == ["ant", "cat", "dog", "zebra"]
    chosen = ReadOptions("train", classes=["zebra", "dog", "bee"])
    source = read_dataset(voc, options=chosen)
    assert names(source.content) == ["zebra", "dog", "bee", "ant", "cat"]
    assert source.notes == ["no object is of the classes zebra, bee; others are: cat"]


def test_xml_beside_images_and_names_that_were_not_changed(write, draw, tmp_path):
    write("a.xml", xml(obj("leaf", (1, 1, 9, 9)), filename="IMG_1.jpg", size=""))
    write("b.xml", xml(filename="b.png", size="<size><width>0</width><height>0</height></size>"))
    draw("a.png", 30, 20), draw("b.png")
    source = read_dataset(tmp_path)
    assert sizes(source.content) == {"a.png": (30, 20), "b.png": (40, 60)}
    assert source.image_dir == tmp_path


def test_files_that_count_from_0(voc, write):
    write("VOC/Annotations/1.xml", xml(obj("dog", (0, 6, 30, 25))))
    source = read_dataset(voc, options=ReadOptions("train"))
    assert "1 boxes begin at pixel 0" in source.notes[0] and "--zero-based" in source.notes[0]
    source = read_dataset(voc, options=ReadOptions("train", zero_based=True))
    assert objects(source.content)["1.jpg"] == [("dog", [0, 6, 30, 19])]
    assert source.notes == []


def test_everything_wrong_is_listed_with_its_line(voc, write):
    write("VOC/Annotations/1.xml", "<annotation>\n<object>\n</annotation>")
    write(
        "VOC/Annotations/2.xml",
        xml(obj("dog", (5, 5, 9, 9)), obj("", (1, 1, 9, 9)), obj("cat", (1, "x", 9, 9), 2)),
    )
    write("VOC/Annotations/3.xml", xml(obj("dog", (30, 6, 11, 25)), obj("cat", (90, 1, 99, 9))))
    write("VOC/ImageSets/Main/train.txt", "1\n2\n3\n4\n")
    with pytest.raises(ValueError) as error:
        read_dataset(voc, options=ReadOptions("train"))
    folder = f"{voc}/Annotations"
    assert str(error.value).splitlines() == [
        f"VOC data set {voc} cannot be read:",
        "- files that are not XML (1):",
        f"    {folder}/1.xml: mismatched tag: line 3, column 2",
        "  Write them anew, or complete them.",
        "- objects without a name or numbers (2):",
        f"    {folder}/2.xml:4: name '', xmin '1', ymin '1', xmax '9', ymax '9', difficult '0'",
        f"    {folder}/2.xml:5: name 'cat', xmin '1', ymin 'x', xmax '9', ymax '9', difficult '2'",
        "  An annotation has <object> elements with <name> and <bndbox> of xmin, ymin, xmax, ymax.",
        "- boxes without area in their image (2):",
        f"    {folder}/3.xml, object 1: 'dog' from x1, y1, x2, y2 = 29, 5, 11, 25 of an image 60 "
        "wide and 40 high",
        f"    {folder}/3.xml, object 2: 'cat' from x1, y1, x2, y2 = 89, 0, 99, 9 of an image 60 "
        "wide and 40 high",
        "  Correct them. Boxes that are only flat or outside can also be left out: convert "
        "--skip-bad, or bad_annotations='skip'.",
        "- missing annotation files (1):",
        f"    {folder}/4.xml",
        "  Every name in the list needs an annotation file; fetch them, or correct the list.",
    ]


def test_boxes_without_area_are_left_out_as_asked(voc, write):
    write("VOC/Annotations/1.xml", xml(obj("dog", (30, 6, 11, 25)), obj("cat", (5, 5, 9, 9))))
    source = read_dataset(voc, options=ReadOptions("train", skip_bad=True))
    assert objects(source.content) == {"1.jpg": [("cat", [4, 4, 5, 5])]}
    assert source.notes == ["1 boxes without area in their image are left out"]


def test_the_folder_above_several_names_them(voc, tmp_path):
    with pytest.raises(ValueError, match=f"several VOC data sets; give one of: {voc}"):
        read_dataset(tmp_path)


def test_what_is_written_is_read_again(round_trip, content):
    lost, back = round_trip(content, "voc")
    assert lost == ["2 masks are not written: VOC's annotations have boxes"]
    expected = objects(content, "iscrowd")
    expected["a_nine.png"] = expected.pop("nine.png")
    assert objects(back.content, "iscrowd") == expected
    assert sizes(back.content) == {"a_nine.png": (40, 60), "four.png": (30, 20)}
    assert names(back.content) == ["rose", "tulip"]


def test_splits_are_written_beside_one_another_but_not_over(round_trip, content, tmp_path):
    round_trip(content, "voc")
    with pytest.raises(FileExistsError, match="train.txt is there already"):
        round_trip(content, "voc")
    content["images"] = [content["images"][0], content["images"][0] | {"file_name": "a_nine.jpg"}]
    with pytest.raises(ValueError, match="of several images, as a/nine.png, a_nine.jpg: rename"):
        round_trip(content, "voc", "other")
