"""The page in a browser: it draws, sorts, follows its controls, and says nothing on the console."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.apis.report import ReportRequest, prepare_report, write_report
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.evaluation import CocoMetric
from mmdet_lite.evaluation.coco_results import write_json

pytestmark = [pytest.mark.needs_browser, pytest.mark.slow]

NAMES = ("<b>cat</b>", "dog & co", '"quoted"')


class Dataset:
    """A scene with pictures."""

    def __init__(self, scene):
        self.category_ids, self.classes = scene.category_ids, NAMES
        self.coco_dict = scene.coco_dict
        self._pictures = ShapesDataset(len(scene.image_ids), (300, 400))

    def load(self, index):
        return self._pictures.load(index)


def write_page(folder, scene, compare=None):
    """The report of a scene's detections."""
    metric, dataset = CocoMetric(), Dataset(scene)
    metric.prepare(dataset)
    request = ReportRequest(folder, "<i>config</i>", folder / "x.pth", 0.3, compare)
    compared_with = prepare_report(request, metric)
    metric.compute(scene.results())
    return write_report(request, metric, dataset, compared_with)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    scene = random_scene(1, num_images=30)
    other = random_scene(1, num_images=30).results().select(np.s_[::2])
    for kind in ("bbox", "segm"):
        path = folder / f"other.{kind}.json"
        write_json(other, scene.category_ids, kind == "segm", path)
    (folder / "log.jsonl").write_text('{"mode":"train","iter":1,"loss":2.0,"lr":0.1}\n')
    return write_page(folder, scene, folder / "other")


@pytest.fixture(scope="module")
def chromium():
    import shutil

    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "chrome")
    path = next(filter(None, map(shutil.which, names)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(chromium, path):
    """A page in a window of its own; afterwards nothing was said or fetched."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(path.as_uri())
    said.remove(path.as_uri())
    yield page
    assert [line for line in said if not line.startswith("data:")] == []
    context.close()


@pytest.fixture
def page(chromium, page_file):
    with opened(chromium, page_file) as page:
        yield page


def number(page, selector):
    return float(page.text_content(selector).replace(",", "").rstrip(" %"))


def column(page, place):
    return page.locator(f"#class-table tbody tr td:nth-child({place})").all_text_contents()


def test_names_are_shown_as_they_are(page):
    assert page.text_content("h1") == "<i>config</i>"
    names = page.locator("#class-table tbody th").all_text_contents()
    assert sorted(names) == sorted(NAMES)
    assert page.locator("b, main i:not(.meter i):not(.share i)").count() == 0


def test_columns_sort_the_table_up_and_down(page):
    head = page.locator("#class-table thead button").filter(has_text="objects")
    head.click()
    values = [int(text) for text in column(page, 11)]
    assert values == sorted(values, reverse=True) and len(set(values)) > 1
    head.press("Enter")  # it keeps the focus
    assert [int(text) for text in column(page, 11)] == sorted(values)
    assert page.get_attribute("#class-table th[aria-sort=ascending]", "scope") == "col"


def test_the_slider_changes_the_counts_and_the_matrix(page):
    data = page.evaluate("data.kinds.bbox")

    def expected(score):
        true = sum(sum(row[score:]) for row in data["scores"]["true"])
        false = sum(sum(row[score:]) for row in data["scores"]["false"])
        return true, false, sum(data["classes"]["objects"]) - true

    def shown():
        return tuple(number(page, f"#count-{name}") for name in ("true", "false", "missed"))

    assert shown() == expected(30)
    page.focus("#score")
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert page.text_content("#score-text") == "0.70"
    assert shown() == expected(70) != expected(30)
    cells = page.evaluate("confusionMatrix()")
    assert sum(cells[label][label] for label in range(3)) == expected(70)[0]
    assert all(value >= 0 for row in cells for value in row)
    precision = expected(70)[0] / sum(expected(70)[:2])
    assert number(page, "#count-precision") == pytest.approx(100 * precision, abs=0.051)


def test_the_counts_of_all_classes_add_up(page):
    page.click("#score-details summary")
    page.wait_for_selector("#score-table tbody tr")
    cells = page.locator("#score-table tbody tr td:nth-child(2)").all_text_contents()
    assert len(cells) == 3
    assert sum(map(int, cells)) == number(page, "#count-true")


def test_classes_and_masks_can_be_chosen(page):
    everything = number(page, "#count-true")
    page.select_option("#class", "1")
    assert 0 < number(page, "#count-true") < everything
    assert "dog & co" in page.text_content("#pr-chart")
    page.select_option("#iou", "9")
    page.check("input[value=segm]")
    figures = page.evaluate("data.kinds.segm.figures")
    assert number(page, "#tile-mAP") == pytest.approx(figures["mAP"], abs=0.00051)
    assert page.locator("#galleries polygon").count() > 0


def test_pictures_open_and_can_be_gone_through_by_keys(page):
    page.locator("#gallery-worst button").first.press("Enter")
    assert page.locator("dialog figure").count() == 3  # ground truth, this run, the other
    first = page.text_content("#large-title")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#large-title") != first
    assert "[object" not in page.text_content("dialog")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_wins_and_losses_are_those_of_the_data(page):
    compared = page.evaluate("data.compared.bbox")
    assert compared["wins"] + compared["losses"] + compared["ties"] == 30
    assert f"higher F1 in {compared['wins']} images" in page.text_content("#compared-text")
    assert page.locator("#gallery-wins button").count() == min(8, compared["wins"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 700})
    page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(247, 247, 245)") == (scheme == "light")


BOX = (10, 10, 50, 50)


@pytest.mark.parametrize(
    ("objects", "found", "shown"),
    [
        ([], [], ("–", "0", "0", "0")),
        ([(1, 0, BOX)], [], ("0.000", "0", "0", "1")),
        ([], [(1, 0, 0.9, BOX)], ("–", "0", "1", "0")),
    ],
)
def test_nothing_found_or_nothing_to_find(chromium, tmp_path, objects, found, shown):
    path = write_page(tmp_path, Scene(objects, found))
    with opened(chromium, path) as page:
        cells = ("#tile-mAP", "#count-true", "#count-false", "#count-missed")
        assert tuple(page.text_content(cell) for cell in cells) == shown
        for label in ("0", "1"):
            page.select_option("#class", label)
        page.check("input[value=segm]")
