"""The page of a run's curves: its figures, and in a browser the values at the pointer."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from mmdet_lite.visualization.report.curves_page import curves_html

RECORDS = [
    {"mode": "train", "iter": 50, "epoch": 1, "loss": 2.0, "loss_cls": 1.5, "lr": 0.1, "time": 0.5},
    {"mode": "val", "iter": 50, "epoch": 1, "bbox_mAP": 0.25, "bbox_mAP_50": 0.5, "segm_mAP": -1},
    {"mode": "train", "iter": 1500, "epoch": 2, "loss": 1.0, "loss_cls": 0.75, "lr": 1e-4},
    {"mode": "val", "iter": 1500, "epoch": 2, "bbox_mAP": 0.125, "bbox_mAP_50": float("nan")},
]


def content(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_it_tells_how_far_the_run_is_and_what_was_best():
    data = content(curves_html("</script>run", RECORDS))
    assert (data["title"], data["subject"]) == ("</script>run", "epoch 2 · iteration 1,500")
    assert data["tiles"] == [
        {"name": "bbox_mAP", "value": "0.250", "note": "best, at iteration 50; last 0.125"},
        {"name": "loss", "value": "1.000", "note": "in the last interval"},
        {"name": "s/it", "value": "nan", "note": "in the last interval"},
    ]
    assert data["training"]["lr"] == [{"name": "lr", "x": [50, 1500], "y": [0.1, 0.0001]}]


def test_a_run_without_validations_has_its_losses():
    data = content(curves_html("run", RECORDS[:1]))
    assert [tile["name"] for tile in data["tiles"]] == ["loss", "s/it"]
    assert data["training"]["mAP"] == []


@pytest.mark.needs_browser
@pytest.mark.slow
def test_values_are_read_by_pointer_and_by_keys(tmp_path):
    from playwright.sync_api import sync_playwright

    (tmp_path / "curves.html").write_text(curves_html("<b>run</b>", RECORDS), encoding="utf-8")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
    said = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 700})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((tmp_path / "curves.html").as_uri())
        assert page.text_content("h1") == "<b>run</b>"
        assert page.locator("svg.chart").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        readout = page.locator(".readout").first
        assert not readout.is_visible()
        box = page.locator("svg.chart").first.bounding_box()
        page.mouse.move(box["x"] + 60, box["y"] + 100)
        assert readout.inner_text().split("\n") == ["iteration 50", "loss 2", "cls 1.5"]
        page.mouse.move(box["x"] + 60, box["y"] - 30)
        assert not readout.is_visible()
        page.locator("svg.chart").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert readout.inner_text().split("\n") == ["iteration 1500", "loss 1", "cls 0.75"]
        browser.close()
    assert said == []
