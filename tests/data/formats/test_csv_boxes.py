"""Boxes in CSV files: what is read, what is wrong, what is written."""

from __future__ import annotations

import pytest
from coco_views import names, objects, sizes

from mmdet_lite.data.formats import ReadOptions, read_dataset, write_dataset


@pytest.mark.parametrize(
    "text",
    [
        "image,x1,y1,x2,y2,label\na.png,10,5,30.5,25,rose\nb.png,,,,,\na.png,1,2,9,9,tulip\n",
        "a.png,10,5,30.5,25,rose\n\nb.png,,,,,\na.png,1,2,9,9,tulip\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,60,40,rose,10,5,30.5,25\n"
        "a.png,60,40,tulip,1,2,9,9\nb.png,60,40,,,,,\n",
    ],
    ids=["header", "no header", "names of others"],
)
def test_boxes_and_images_without_objects(write, draw, text):
    draw("a.png"), draw("b.png")
    source = read_dataset(write("boxes.csv", "\ufeff" + text))
    assert objects(source.content) == {
        "a.png": [("rose", [10, 5, 20.5, 20]), ("tulip", [1, 2, 8, 7])],
        "b.png": [],
    }
    assert sizes(source.content) == {"a.png": (40, 60), "b.png": (40, 60)}
    assert names(source.content) == ["rose", "tulip"]


def test_sizes_in_the_file_make_images_unnecessary(write):
    text = "image,x1,y1,x2,y2,label,height,width\na.png,10,5,30,25,rose,40,60\n"
    assert sizes(read_dataset(write("boxes.csv", text)).content) == {"a.png": (40, 60)}


def test_everything_wrong_is_listed_with_its_line(write, draw):
    draw("images/a.png")
    file = write(
        "boxes.csv",
        "image,x1,y1,x2,y2,label\na.png,10,5,30,,rose\na.png,10,5,30,25,\na.png,1,2,x,4,rose\n"
        ",1,2,3,4,rose\na.png,30,5,10,25,rose\nz.png,1,2,3,4,rose\na.png,1,2,3,inf,rose\n",
    )
    with pytest.raises(ValueError) as error:
        read_dataset(file, options=ReadOptions(image_dir=file.parent / "images"))
    lines = str(error.value).splitlines()
    assert lines[1] == "- lines without a whole box (4):"
    assert lines[2:6] == [
        f"    {file}:2: a.png,10,5,30,,rose",
        f"    {file}:3: a.png,10,5,30,25,",
        f"    {file}:4: a.png,1,2,x,4,rose",
        f"    {file}:8: a.png,1,2,3,inf,rose",
    ]
    assert "- lines without an image (1):" in lines
    assert any(f"{file}:6: 'rose' from x1, y1, x2, y2 = 30, 5, 10, 25" in line for line in lines)
    assert f"    {file.parent}/images/z.png" in lines


def test_a_header_without_a_column_names_what_was_looked_for(write):
    file = write("boxes.csv", "filename,x,y,width,height,label\n")
    with pytest.raises(ValueError) as error:
        read_dataset(file)
    assert "Looked for: x1 or xmin or x_min; y1 or ymin or y_min; x2" in str(error.value)


def test_what_is_written_is_read_again(round_trip, content):
    lost, back = round_trip(content, "csv", "out.csv")
    assert lost == [
        "1 crowds are not written: a CSV file has none",
        "2 masks are not written: a CSV file has none",
    ]
    content["annotations"].pop()
    assert objects(back.content) == objects(content)
    assert sizes(back.content) == sizes(content)
    with pytest.raises(ValueError, match="a CSV file has no splits, got split='val'"):
        write_dataset(back, "new.csv", "csv", "val")
