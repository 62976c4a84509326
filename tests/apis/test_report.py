"""The report of an evaluation: its files, its figures, and another run beside it."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mmdet_lite.apis import test as test_module
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.report import ReportRequest, prepare_report, write_report
from mmdet_lite.benchmarks.evaluation_inputs import EvaluationSize, RandomObjects, random_results
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.evaluation import CocoMetric

TINY = Path(__file__).parent / "tiny_config.py"


def page_data(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


@pytest.fixture(scope="module")
def reported(trained, tmp_path_factory):
    """Folder of a report and detections, and the metrics."""
    folder = tmp_path_factory.mktemp("reported")
    metrics = test_module.test(
        load_config(TINY, {"metric.classwise": True}),
        trained / "iter_2.pth",
        out=folder / "found",
        show_score_thr=0.1,
        report_dir=folder / "report",
    )
    return folder, metrics


def test_the_report_has_the_figures_of_the_evaluation(reported):
    folder, metrics = reported
    report = json.loads((folder / "report/report.json").read_text())
    assert report["title"] == "tiny_config"
    assert report["data"]["images"] == 4
    for kind in ("bbox", "segm"):
        figures = report["kinds"][kind]["figures"]
        assert len(figures) == 12
        for name, value in figures.items():
            expected = metrics[f"{kind}_{name}"]
            assert value == (None if expected == -1 else pytest.approx(expected, abs=6e-6))
        columns = report["kinds"][kind]["classes"]
        for name, value in zip(report["classes"], columns["AP"], strict=True):
            expected = metrics[f"{kind}_AP/{name}"]
            assert value == (None if expected == -1 else pytest.approx(expected, abs=6e-6))


def test_the_page_has_pictures_curves_and_no_list_of_all_images(reported):
    folder, _ = reported
    data = page_data(folder / "report")
    galleries = data["galleries"]["bbox"]
    shown = {place for gallery in galleries.values() for place in gallery}
    assert shown and shown <= {0, 1, 2, 3}
    picture = data["pictures"][str(min(shown))]
    assert picture["source"].startswith("data:image/jpeg;base64,")
    assert picture["kinds"].keys() == {"bbox", "segm"}
    assert data["training"]["loss"][0]["x"] == [1, 2]
    assert data["compared"] == {} and "other" not in data
    assert "image_ids" not in data and "images" not in data["kinds"]["bbox"]


@pytest.mark.parametrize("other", ["found", "report"])
def test_a_run_beside_itself_is_even(reported, trained, tiny, tmp_path, other):
    folder, _ = reported
    test_module.test(
        tiny(),
        trained / "iter_2.pth",
        show_score_thr=0.1,
        report_dir=tmp_path,
        compare=folder / other,
    )
    data = page_data(tmp_path)
    assert data["compared"]["bbox"] == {"wins": 0, "losses": 0, "ties": 4}
    assert data["other"]["kinds"] == data["kinds"]
    picture = next(iter(data["pictures"].values()))
    if "report" in other:  # figures only
        assert picture["other"] == {}
        return
    assert picture["other"]["bbox"] == picture["kinds"]["bbox"]
    for mine, theirs in zip(
        *(picture[p]["segm"]["found"] for p in ("kinds", "other")), strict=True
    ):
        assert mine | {"box": None} == theirs | {"box": None}  # theirs is that of the mask


def test_without_masks_and_without_a_log(trained, tiny, tmp_path):
    checkpoint = shutil.copy(trained / "iter_2.pth", tmp_path)
    cfg = tiny({"metric.metrics": ["bbox"]})
    test_module.test(cfg, checkpoint, report_dir=tmp_path, work_dir=tmp_path / "none")
    data = page_data(tmp_path)
    assert data["kinds"].keys() == {"bbox"}
    assert "training" not in data


def test_another_threshold_or_data_set_is_refused(reported, trained, tiny, tmp_path, monkeypatch):
    folder, _ = reported
    monkeypatch.setattr(test_module, "evaluate", None)  # it is said before the evaluation
    arguments = {"report_dir": tmp_path, "compare": folder / "report"}
    with pytest.raises(ValueError, match=r"report.json: --show-score-thr .*\(0.1, here 0.3\)"):
        test_module.test(tiny(), trained / "iter_2.pth", **arguments)
    cfg = tiny({"test_data.dataset.num_images": 3})
    with pytest.raises(ValueError, match="report.json: the ground truth of that report differ"):
        test_module.test(cfg, trained / "iter_2.pth", show_score_thr=0.1, **arguments)


def test_what_cannot_be_reported_is_said_before_the_evaluation(
    trained, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(test_module, "evaluate", None)
    checkpoint = trained / "iter_2.pth"
    with pytest.raises(ValueError, match="--compare nowhere: goes with --report DIR"):
        test_module.test(tiny(), checkpoint, compare="nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere: no such file; --compare takes"):
        test_module.test(tiny(), checkpoint, report_dir=tmp_path, compare="nowhere")
    cfg = tiny({"metric.metrics": ["proposal"]})
    with pytest.raises(ValueError, match=r"--report needs metric = .* CocoMetric with"):
        test_module.test(cfg, checkpoint, report_dir=tmp_path)


def test_the_command_writes_a_report(trained, tmp_path, run_cli):
    arguments = ("test", TINY, trained / "iter_2.pth", "--report", tmp_path / "deep/report")
    assert run_cli(*arguments).code == 0
    assert {path.name for path in (tmp_path / "deep/report").iterdir()} == {
        "report.html",
        "report.json",
    }


@pytest.mark.slow
def test_a_report_of_five_thousand_images_takes_less_than_two_minutes(tmp_path):
    size, rng = EvaluationSize(), np.random.default_rng(0)
    objects = RandomObjects(size, rng)
    objects.load = ShapesDataset(size.images, (size.height, size.width)).load
    results = random_results(objects, size, rng)
    metric = CocoMetric(("bbox",))
    metric.prepare(objects)
    request = ReportRequest(tmp_path, "random", tmp_path / "x.pth", 0.3)
    compared_with = prepare_report(request, metric)
    metric.compute(results)
    start = time.perf_counter()
    page = write_report(request, metric, objects, compared_with)
    assert time.perf_counter() - start < 120
    assert page.stat().st_size < 3_000_000
