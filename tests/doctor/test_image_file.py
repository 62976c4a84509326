import json

import pytest
from image_corpus import CASES, Case, write_corpus

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.findings import Finding
from mmdet_lite.data.image_io import read_image
from mmdet_lite.doctor.image_file import LARGEST_DECODED, inspect_header
from mmdet_lite.doctor.images import ImageRecord, ImageReport, check_images

_ONLY_PIXELS_TELL = (
    *("end_marker_cut.png", "cut_and_closed.jpg", "spoilt_inside.png", "bytes_before_the_end.jpg"),
    *("cut.bmp", "cut.tif", "cut.jp2", "cut.gif", "float.tif", "too_wide.png"),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[ImageRecord]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def report(records) -> ImageReport:
    return check_images(records, num_workers=1)


def test_corpus_is_large():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_each_file_is_judged_as_it_should_be(number, records, report):
    case, record = CASES[number], records[number]
    found = [finding for finding in report.findings if finding.id == number]
    assert tuple((f.severity, f.kind) for f in found) == case.expected, _texts(found)
    assert all(finding.file == record.path for finding in found)
    assert all(finding.message and finding.fix for finding in found)
    assert case.says in (found[0].message if found else ""), _texts(found)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_header_and_end_tell_sizes_and_most_of_what_cannot_be_read(number, records):
    case = CASES[number]
    found = inspect_header(records[number])
    expected = tuple(one for one in case.expected if one[1] != "image_unusual")
    if case.name == "large.png":
        expected = case.expected
    elif case.name in _ONLY_PIXELS_TELL:
        expected = ()
    assert tuple((f.severity, f.kind) for f in found) == expected, _texts(found)


def test_findings_come_in_the_order_of_the_images(report):
    ids = [finding.id for finding in report.findings]
    assert ids == sorted(ids)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_training_reads_what_the_doctor_lets_pass(number, records):
    case, record = CASES[number], records[number]
    if case.size and case.size[0] * case.size[1] > LARGEST_DECODED:
        pytest.skip("takes a gigabyte")
    if is_unreadable(case):
        with pytest.raises(ValueError, match="image file|is not an image") as error:
            read_image(record.path)
        assert record.path in str(error.value)
    else:
        assert read_image(record.path).ndim == 3


def test_error_of_training_names_image_and_file(tmp_path, records):
    unreadable = [record for record in records if is_unreadable(CASES[record.id])]
    unreadable = [record for record in unreadable if max(record.size) <= 1_000_000]  # as COCO's
    images = [
        {"id": r.id, "file_name": r.path, "height": max(r.size[0], 1), "width": max(r.size[1], 1)}
        for r in unreadable
    ]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "rose"}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    dataset = CocoDataset(str(tmp_path / "train.json"), "/")
    assert len(dataset) > 30
    for index, record in enumerate(unreadable):
        with pytest.raises(ValueError) as error:
            dataset.load(index)
        assert str(error.value).startswith(f"image id {record.id}: ")
        assert record.path in str(error.value)


def is_unreadable(case: Case) -> bool:
    """Whether training stops at a file; some of the corrupt ones are read with a grey part."""
    return case.expected == (("error", "image_corrupt"),) and case.says not in (
        "premature end",
        "cannot hold",
    )


def _texts(findings: list[Finding]) -> list[str]:
    return [finding.message for finding in findings]
