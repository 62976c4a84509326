import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mmdet_lite.data.findings import KINDS, Finding
from mmdet_lite.doctor.explanations import EXPLANATIONS
from mmdet_lite.doctor.page import SHOWN, write_page
from mmdet_lite.doctor.pictures import Picture
from mmdet_lite.doctor.statistics import dataset_statistics
from mmdet_lite.doctor.training_view import Scale

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
PIXEL = "data:image/jpeg;base64,AAAA"


class Page(HTMLParser):
    """A page's tags with their attributes, and its text."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "input", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data

    def named(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def finding(severity="error", kind="image_corrupt", file="a.jpg", id=1, message="m", fix="f"):
    return Finding(severity, kind, file, id, message, fix)


def statistics(name="rose"):
    images = [{"id": 1, "width": 100, "height": 80}]
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, side, side]} for side in (5, 40, 70)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": name}]}
    found = dataset_statistics(content, scales=[Scale((200, 160))])
    return replace(found, remarks=(f"figures of {name}",))


def make(
    tmp_path, findings=(), statistics=None, pictures=None, subject="my.py"
) -> tuple[Page, str]:
    path = tmp_path / "out" / "page.html"
    write_page(path, subject, findings, list((statistics or {}).items()), pictures or {})
    source = path.read_text("utf-8")
    return Page(source), source


def test_page_shows_findings_by_severity_then_number(tmp_path):
    findings = [
        finding("note", "image_unlisted", id=None),
        finding("warning", "box_outside"),
        *[finding("warning", "image_unusual", id=i) for i in range(3)],
        finding("error", "size_mismatch", message="60 high", fix="Correct it"),
    ]
    page, _ = make(tmp_path, findings, {"train": statistics()})
    assert [d["data-severity"] for d in page.named("details")] == [
        "error",
        "warning",
        "warning",
        "note",
    ]
    kinds = ["size_mismatch", "image_unusual", "box_outside", "image_unlisted"]
    places = [page.text.index(kind) for kind in kinds]
    assert places == sorted(places)
    for text in ("60 high", "Correct it", "1 error", "4 warnings", "1 note", "rose", "train"):
        assert text in page.text


def test_page_without_findings_says_so(tmp_path):
    page, _ = make(tmp_path, statistics={"train": statistics()})
    assert "figures of rose" in page.text
    assert "Nothing was found that is wrong" in page.text
    assert page.named("script") == [] and page.named("details") == []


def test_what_comes_from_files_is_escaped(tmp_path):
    evil = finding(file=f"{EVIL}/{EVIL}.jpg", id=EVIL, message=EVIL, fix=EVIL)
    picture = Picture(EVIL, PIXEL, (10, 10), (), (), (EVIL,))
    group = {("error", "image_corrupt"): [picture]}
    page, source = make(tmp_path, [evil], {EVIL: statistics(EVIL)}, group, EVIL)
    assert len(page.named("script")) == 1 and page.named("img") == []
    assert page.text.count("alert(1)") >= 8  # as text
    assert "onerror=alert(1)>" not in source
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_names_that_are_no_text_do_not_stop_it(tmp_path):
    page, _ = make(tmp_path, [finding(file=b"\xff\xfe.jpg".decode("utf-8", "surrogateescape"))])
    assert ".jpg" in page.text


def test_page_loads_nothing(tmp_path):
    picture = Picture("a", PIXEL, (10, 10), (), (), ())
    group = {("error", "image_corrupt"): [picture]}
    page, source = make(tmp_path, [finding()], {"train": statistics()}, group)
    assert "http:" not in source and "https:" not in source
    assert [image["href"] for image in page.named("image")] == [PIXEL]
    (policy,) = [
        m["content"] for m in page.named("meta") if "content" in m and "src" in m["content"]
    ]
    assert policy.startswith("default-src 'none'; img-src data:")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'$", policy)


def test_boxes_are_drawn_also_outside_the_image(tmp_path):
    box, other = (90.0, 10.0, 40.0, 20.0), (5.0, 5.0, 10.0, 10.0)
    picture = Picture("a", PIXEL, (100, 80), (box,), (other,), ("out",))
    page, _ = make(
        tmp_path,
        [finding("warning", "box_outside")],
        pictures={("warning", "box_outside"): [picture]},
    )
    (svg,) = [s for s in page.named("svg") if s.get("aria-label") == "a"]
    assert svg["viewbox"] == "0 0 130 80"
    (mine,) = [r for r in page.named("rect") if r.get("class") == "mine"]
    assert [mine[key] for key in ("x", "y", "width", "height")] == ["90.0", "10.0", "40.0", "20.0"]
    assert len([r for r in page.named("rect") if r.get("class") == "other"]) == 1


def test_a_picture_has_whole_messages_below_it_and_counts_those_beyond_three(tmp_path):
    messages = tuple(f"annotation {i}: {'long ' * 40}" for i in range(5))
    picture = Picture("a", PIXEL, (100, 80), (), (), messages)
    _, source = make(tmp_path, [finding()], pictures={("error", "image_corrupt"): [picture]})
    (caption,) = re.findall(r"<figcaption>(.*?)</figcaption>", source)
    lines = re.findall(r'<span class="soft">(.*?)</span>', caption)
    assert lines == [*messages[:3], "and 2 more of this kind"]
    assert "line-clamp" not in source


def test_a_box_far_away_does_not_shrink_the_picture_to_nothing(tmp_path):
    picture = Picture("a", PIXEL, (100, 80), ((-5000.0, 0.0, 90000.0, 10.0),), (), ())
    page, _ = make(tmp_path, [finding()], pictures={("error", "image_corrupt"): [picture]})
    assert [s["viewbox"] for s in page.named("svg")] == ["-35 0 170 80"]


def test_many_findings_make_a_small_page_that_tells_how_many(tmp_path):
    findings = [finding("warning", "box_outside", id=i, message="m" * 100) for i in range(100_000)]
    page, source = make(tmp_path, findings)
    assert len(source) < 100_000
    assert len(page.named("tr")) == SHOWN + 1
    assert "The first 100 of 100,000 are shown" in page.text and "100,000 warnings" in page.text


def test_bars_of_a_histogram_say_what_they_hold(tmp_path):
    page, _ = make(tmp_path, statistics={"train": statistics()})
    for text in ("4 to 8: 1 (33.3 %)", "32 to 64: 1", "from 65 on: 0", "3 to 4: 1 (100.0 %)"):
        assert text in page.text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained(kind):
    assert EXPLANATIONS[kind].endswith(".")


def test_commands_in_a_fix_are_code(tmp_path):
    page, _ = make(tmp_path, [finding(fix="Run `git lfs pull`")])
    assert "Run git lfs pull" in page.text
