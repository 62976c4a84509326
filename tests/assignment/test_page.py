"""The page: it holds all that it needs, and works in a browser.

The browser's part: pytest -m slow tests/assignment/test_page.py
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmdet_lite.assignment.page import make_page, write_page
from mmdet_lite.assignment.rows import Status
from mmdet_lite.assignment.scene import Frame, Scene, System


def _scene(captive, *systems: str, frames: int = 1, classes: str = "abcdef") -> Scene:
    one = captive(systems[0])
    valid = one.batch.gt.valid[0].numpy()
    return Scene(
        image=one.batch.images[0].permute(1, 2, 0).numpy(),
        boxes=one.batch.gt.boxes[0].numpy()[valid],
        labels=one.batch.gt.labels[0].numpy()[valid],
        ignore_boxes=np.array([[0.0, 0, 9, 9]]),
        classes=list(classes),
        place="image 1",
        systems=[
            System(name, [Frame(f"weights {i}", captive(name).stages(0)) for i in range(frames)])
            for name in systems
        ],
    )


def _data(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(found[1])


def test_nothing_is_loaded_from_anywhere(captive):
    page = make_page(_scene(captive, "yolov8"))
    addresses = set(re.findall(r"""\w+://[^"'\s)]+""", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "default-src 'none'" in page and "{{" not in page.replace(json.dumps(_data(page)), "")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.(?!data:)", page)


def test_names_cannot_end_the_script(captive):
    scene = _scene(captive, "yolov8")
    scene.classes = ["</script><b>"] * 6
    scene.systems[0].name = "a<b>&c"
    page = make_page(scene)
    assert _data(page)["gts"][0]["name"] == "0 </script><b>"
    assert page.count("</script>") == 3
    assert "<title>Targets of a&lt;b&gt;&amp;c</title>" in page


@pytest.mark.parametrize("system", ["cascade-rcnn", "yolov5", "nanodet-plus"])
def test_the_page_has_the_rows_of_every_stage(captive, system):
    data = _data(make_page(_scene(captive, system)))
    shown = data["systems"][0]["frames"][0]["stages"]
    for stage, expected in zip(shown, captive(system).stages(0), strict=True):
        assert len(stage["rows"]) == len(expected.status)
        counts = np.zeros_like(expected.positives())
        for row in stage["rows"]:
            if row["status"] == Status.POSITIVE:
                counts[row["gt"], stage["levels"].index(row["level"])] += 1
        assert counts.tolist() == stage["positives"] == expected.positives().tolist()
        strides = [data["levels"][level]["stride"] for level in stage["levels"]]
        assert strides == list(expected.strides)


def test_too_many_rows_are_thinned_and_the_page_says_so(captive, monkeypatch):
    monkeypatch.setattr("mmdet_lite.assignment.page._MOST_ROWS", 2)
    (stage,) = _data(make_page(_scene(captive, "yolov8")))["systems"][0]["frames"][0]["stages"]
    count = len(captive("yolov8").stages(0)[0].status)
    assert len(stage["rows"]) == 2 < count
    assert f"; 2 of {count} are drawn" in stage["tally"]


# In a browser


@pytest.fixture(scope="module")
def driver() -> Iterator:
    """Headless Chromium; without it, or selenium, these tests are skipped."""
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        pytest.skip("no chromium with chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=chromedriver)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def visit(driver, captive, tmp_path):
    """Open the page of a scene at a width; afterwards nothing may be in the console."""

    def go(*systems: str, width: int = 1300, frames: int = 1, scene: Scene | None = None):
        file: Path = tmp_path / "page.html"
        write_page(scene or _scene(captive, *systems, frames=frames), file)
        driver.set_window_size(width, 900)
        driver.get(file.as_uri())
        return driver

    yield go
    assert driver.get_log("browser") == []


def _find(driver, selector: str) -> list:
    return driver.find_elements("css selector", selector)


def _hover(driver, element) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    ActionChains(driver).move_to_element(element).perform()


def _press(driver, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


@pytest.mark.slow
@pytest.mark.parametrize("system", ["mask-rcnn", "fcos", "yolov8", "yolov5"])
def test_hovering_shows_what_a_mark_learns(visit, system):
    driver = visit(system)
    tip = driver.find_element("id", "tip")
    assert not tip.is_displayed()
    mark = _find(driver, ".mark.positive")[-1]
    _hover(driver, mark.find_element("css selector", ".ring"))
    assert tip.is_displayed()
    assert tip.text.startswith("positive for ") and "has to score" in tip.text
    lit = _find(driver, ".mark.lit")
    assert lit and len(_find(driver, "tbody tr.lit")) == 1
    assert _find(driver, ".scene.focus")


@pytest.mark.slow
def test_rows_of_the_table_light_up_their_positives(visit, captive):
    driver = visit("yolov8")
    stage = captive("yolov8").stages(0)[0]
    for gt, row in enumerate(_find(driver, "tbody tr")):
        _hover(driver, row)
        assert len(_find(driver, ".mark.positive.lit")) == stage.positives()[gt].sum()


@pytest.mark.slow
def test_keys_go_through_objects_and_what_learns_them(visit):
    from selenium.webdriver.common.keys import Keys

    driver = visit("yolov8")
    _press(driver, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    (lit,) = _find(driver, "tbody tr.lit")
    assert lit.get_attribute("data-gt") == "1"
    _press(driver, Keys.ARROW_RIGHT)
    tip = driver.find_element("id", "tip")
    assert tip.text.startswith("positive for 1 ")
    first = _find(driver, ".mark.on")[0].get_attribute("data-row")
    _press(driver, Keys.ARROW_RIGHT)
    assert _find(driver, ".mark.on")[0].get_attribute("data-row") != first
    before = _find(driver, ".scene")[0].get_dom_attribute("viewBox")
    _press(driver, "z")
    assert _find(driver, ".scene")[0].get_dom_attribute("viewBox") != before
    _press(driver, Keys.ESCAPE)
    assert not _find(driver, "tr.lit") and not tip.is_displayed()
    assert _find(driver, ".scene")[0].get_dom_attribute("viewBox") == before


@pytest.mark.slow
def test_levels_and_kinds_are_switched(visit, captive):
    driver = visit("mask-rcnn")
    stage = captive("mask-rcnn").stages(0)[0]
    background = driver.find_element("name", "background")
    assert not _find(driver, ".mark.background") and not background.is_selected()
    background.click()
    assert len(_find(driver, ".mark.background")) == stage.count(Status.NEGATIVE)
    for stride in stage.strides:
        driver.find_element("name", f"stride-{stride}").click()
    assert not _find(driver, ".mark")
    driver.find_element("name", f"stride-{stage.strides[1]}").click()
    assert len(_find(driver, ".mark.positive")) == stage.positives()[:, 1].sum()
    driver.find_element("css selector", ".tabs button:last-child").click()
    assert "RoIs" in driver.find_element("css selector", ".tally").text


@pytest.mark.slow
def test_a_strip_of_weights_and_two_systems(visit):
    driver = visit("yolov8", "mask-rcnn", frames=3)
    assert len(_find(driver, ".panel")) == 2 and len(_find(driver, ".strip button")) == 6
    _find(driver, ".strip button")[0].click()
    selected = _find(driver, ".strip button[aria-pressed=true]")
    assert [one.text.splitlines()[0] for one in selected] == ["weights 0", "weights 2"]
    assert driver.find_element("id", "findings").text


@pytest.mark.slow
@pytest.mark.parametrize("systems", [("yolov8",), ("cascade-rcnn", "yolov5")])
def test_a_phone_shows_it_without_scrolling_sideways(visit, systems):
    driver = visit(*systems, width=500, frames=3)  # no narrower window than that
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not driver.execute_script(wide)
        assert _find(driver, ".scene")[0].size["width"] > 330
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_a_page_without_objects_opens(visit, captive):
    scene = _scene(captive, "yolov8")
    stage = scene.systems[0].frames[0].stages[0]
    arrays = {k: v[:0] for k, v in vars(stage).items() if isinstance(v, np.ndarray)}
    arrays["sizes"] = stage.sizes
    scene.systems[0].frames[0].stages = [type(stage)(**(vars(stage) | arrays))]
    scene.boxes, scene.labels = scene.boxes[:0], scene.labels[:0]
    driver = visit(scene=scene)
    assert "no objects" in driver.find_element("id", "table").text
