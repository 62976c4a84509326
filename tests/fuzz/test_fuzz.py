"""Two seconds of fuzzing, and that it notices what it is there for."""

from __future__ import annotations

import json
from collections import Counter

import fuzz
import fuzz_worker
import numpy as np
import pytest
from fuzz_inputs import GOOD, HEIGHT, WIDTH, decode_slowly

WORKER = """import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "images").mkdir(exist_ok=True)
(folder / "images/one.png").write_bytes(b"")
(folder / "input.json").write_text("the file")
(folder / "outcomes.json").write_text('{"files": 3}')
"""


def test_odd_files_are_refused_or_used(tmp_path):
    fuzz_worker.run(tmp_path, seed=0, seconds=2, least=60)
    outcomes = json.loads((tmp_path / "outcomes.json").read_text())
    assert outcomes["refused"] > 20 and outcomes["used"] > 20


def test_a_good_file_is_used(tmp_path):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(GOOD))
    images = fuzz_worker.write_images(tmp_path / "images")
    assert fuzz_worker.check_file(path, images) == Counter(used=4)
    expected = np.zeros((HEIGHT, WIDTH))
    expected[3:8, 2:5] = 1
    for annotation in GOOD["annotations"][1:]:
        counts = annotation["segmentation"]["counts"]
        np.testing.assert_array_equal(decode_slowly(counts, (HEIGHT, WIDTH)), expected)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("os.abort()", "ended by signal 6"),
        ("time.sleep(60)", "no end after 1 s"),
        ("raise KeyError('odd')", "KeyError: 'odd' (in no file of the package)"),
    ],
)
def test_crashes_and_hangs_are_kept(tmp_path, monkeypatch, end, kind):
    (tmp_path / "worker.py").write_text(WORKER + end)
    monkeypatch.setattr(fuzz, "_WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(fuzz, "_HANG", 1.0)
    report = fuzz.fuzz(1, seed=0, out=tmp_path / "out")
    kept = tmp_path / "out/failure_0.json"
    assert report.failures == {kind: kept} and kept.read_text() == "the file"
    assert report.outcomes["files"] == 3 and str(kept) in str(report)
    assert kept.with_suffix(".txt").read_text().startswith(kind)
