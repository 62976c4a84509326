"""The doctor as a command: its text, JSON, exit code; the data sets of a config."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdet_lite.apis.doctor import examine
from mmdet_lite.apis.doctor_sources import Source, find_sources
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.registry import DATASETS


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    ShapesDataset(num_images=3, image_size=(64, 64), data_seed=3).write(tmp_path / "shapes")
    return tmp_path / "shapes"


def spoil(folder: Path, change) -> Path:
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def arguments(folder: Path) -> list:
    return ["doctor", "--ann", folder / "annotations.json", "--images", folder / "images"]


def test_sound_data_set_has_code_0(shapes, run_cli):
    result = run_cli(*arguments(shapes))
    assert result.code == 0, result.out
    assert result.out.startswith(f"{shapes}/annotations.json: ") and "nothing found" in result.out
    assert "3 images" in result.out and "errors" not in result.out and result.err == ""


def test_warnings_have_code_1_and_errors_2(shapes, run_cli, tmp_path):
    path = spoil(shapes, lambda content: content["annotations"][0].update(area=1e9))
    out = tmp_path / "found.json"
    result = run_cli(*arguments(shapes), "--no-pixels", "--json", out)
    assert result.code == 1 and "warnings\n- area_mismatch: " in result.out
    (found,) = [f for f in json.loads(out.read_text()) if f["severity"] == "warning"]
    assert found.keys() == {"severity", "kind", "file", "id", "message", "fix"}
    assert found["file"] == str(path) and found["kind"] == "area_mismatch"
    (shapes / "images/000002.png").unlink()
    result = run_cli(*arguments(shapes), "--no-pixels")
    assert result.code == 2 and "- image_missing: a listed image has no file (1):" in result.out
    result = run_cli(*arguments(shapes), "--workers", 1)
    assert result.code == 2 and "000002.png: there is no such file" in result.out


def test_page_shows_findings_with_pictures_and_statistics(shapes, run_cli, tmp_path):
    path = spoil(shapes, lambda content: content["annotations"][0].update(bbox=[50, 40, 40, 20]))
    out = tmp_path / "out/page.html"
    result = run_cli(*arguments(shapes), "--html", out, "--workers", 1)
    page = out.read_text("utf-8")
    assert result.code == 1
    assert "<title>annotations.json: data set</title>" in page
    assert "box_outside" in page and page.count("data:image/jpeg;base64,") >= 1
    assert '<rect class="mine" x="50.0" y="40.0" width="40.0" height="20.0"/>' in page
    assert f"<h2>{path}</h2>" in page and "Aspect ratio" in page


@pytest.mark.parametrize("text", [b"", b"[", b"\xff\xfe\0", b"[[1]]", b'{"images": 5}'])
def test_files_that_are_none_are_findings(tmp_path, run_cli, text):
    (tmp_path / "broken.json").write_bytes(text)
    result = run_cli("doctor", "--ann", tmp_path / "broken.json", "--images", tmp_path)
    assert result.code == 2 and "Traceback" not in result.out + result.err
    assert "errors\n- " in result.out and result.err == ""


def test_names_that_a_terminal_cannot_show_do_not_stop_it(shapes, run_cli):
    spoil(shapes, lambda content: content["images"][0].update(file_name="\ud800\n\x1b.png"))
    result = run_cli(*arguments(shapes))
    assert result.code == 2 and r"'\ud800\n\x1b.png'" in result.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "name a config, or one annotation file with --ann"),
        (["config.py", "--ann", "a.json"], "name a config, or one annotation file with --ann"),
        (["no/config.py"], "no/config.py"),
        (
            ["demo/yolov8_shapes.py", "--images", "a"],
            "--images, --trust-boxes and --split go with --ann",
        ),
        (["demo/yolov8_shapes.py", "--fix", "a"], "--fix corrects one annotation file"),
    ],
)
def test_wrong_arguments_have_code_2(given, message, run_cli):
    result = run_cli("doctor", *given)
    assert result.code == 2 and message in result.err


def test_missing_annotation_file_is_a_finding(run_cli, tmp_path):
    result = run_cli("doctor", "--ann", tmp_path / "no.json")
    assert result.code == 2 and "annotation file not found" in result.out


def test_fix_writes_a_file_that_is_clean(shapes, run_cli, tmp_path):
    def change(content):
        content["annotations"][0]["bbox"][2] = 0
        content["annotations"][1]["image_id"] = 77

    spoil(shapes, change)
    out = tmp_path / "new/right.json"
    result = run_cli(*arguments(shapes), "--fix", out)
    assert result.code == 2 and f"wrote {out} with 2 changes" in result.out
    assert "box_degenerate: removed (1)" in result.out
    assert run_cli("doctor", "--ann", out, "--images", shapes / "images").code == 0
    result = run_cli(*arguments(shapes), "--fix", out)
    assert result.code == 2 and "exists; name a file that does not" in result.err


def test_nothing_that_is_read_is_written_over(shapes, run_cli):
    path = shapes / "annotations.json"
    before = path.read_bytes()
    for option in ("--json", "--html"):
        result = run_cli(*arguments(shapes), option, path)
        assert result.code == 2 and "is the annotation file itself: name another" in result.err
    result = run_cli(*arguments(shapes), "--fix", path)
    assert result.code == 2 and "exists; name a file that does not" in result.err
    assert path.read_bytes() == before


def test_boxes_of_images_of_another_size_stay_as_they_are(shapes, run_cli, tmp_path):
    def change(content):
        content["images"][0]["width"] = 20
        content["images"][1]["id"] = content["images"][2]["id"]

    path = spoil(shapes, change)
    before = json.loads(path.read_text())["annotations"]
    result = run_cli(*arguments(shapes), "--workers", 1, "--fix", tmp_path / "new.json")
    assert result.code == 2 and "size_mismatch" in result.out and "duplicate_id" in result.out
    after = json.loads((tmp_path / "new.json").read_text())["annotations"]
    assert [a["bbox"] for a in after] == [a["bbox"] for a in before]


def test_images_that_were_moved_are_told_with_their_folder(shapes, run_cli):
    (shapes / "images").rename(shapes / "train")
    (shapes / "images").mkdir()
    for option in ([], ["--no-pixels"]):
        result = run_cli(*arguments(shapes), *option)
        assert result.code == 2 and "image_missing: a listed image has no file (3)" in result.out
        assert f"png lies in {shapes}/train/: set image_dir (--images of the doctor)" in result.out


def test_other_formats_are_examined_too(shapes, run_cli, tmp_path):
    path, images = shapes / "annotations.json", shapes / "images"
    folder = tmp_path / "yolo"
    options = ("--to", "yolo", "--image-dir", images, "--out-split", "train")
    assert run_cli("convert", path, folder, *options).code == 0
    result = run_cli("doctor", "--ann", folder, "--split", "train", "--workers", 1)
    assert result.code == 0, result
    assert "\n3 images" in result.out
    next(folder.rglob("*.png")).write_bytes(b"")
    result = run_cli("doctor", "--ann", folder, "--split", "train", "--workers", 1)
    assert result.code == 2 and "image files that cannot be read: " in result.out, result
    result = run_cli("doctor", "--ann", folder, "--fix", tmp_path / "a.json")
    assert result.code == 2 and "are converted by mmdet-lite convert" in result.err


def test_labels_that_cannot_be_read_are_findings_in_all_that_is_written(shapes, run_cli, tmp_path):
    folder = tmp_path / "yolo"
    options = ("--to", "yolo", "--image-dir", shapes / "images", "--out-split", "train")
    assert run_cli("convert", shapes / "annotations.json", folder, *options).code == 0
    labels = folder / "labels/train/000001.txt"
    labels.write_text("1 0.4 0.4 0.3\n9 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2\n")
    out, page = tmp_path / "found.json", tmp_path / "page.html"
    result = run_cli("doctor", "--ann", folder, "--json", out, "--html", page)
    assert result.code == 2 and result.err == "" and "- labels_invalid: " in result.out
    found = json.loads(out.read_text())
    assert [(f["severity"], f["kind"], f["file"]) for f in found] == [
        ("error", "labels_invalid", str(folder))
    ] * 3
    assert found[0]["message"] == (
        f"lines with a wrong count of numbers: {labels}:1: 1 0.4 0.4 0.3: 4 numbers; is the label "
        "missing?"
    )
    assert found[2]["message"] == f"labels out of range: {labels}:2: label 9 but names has 0..5"
    assert "labels_invalid" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "text", "kind", "says"),
    [
        ("none/data.yaml", None, "file_missing", "no such file"),
        ("data.yaml", "names: [", "labels_invalid", "is not YAML"),
        ("data.yaml", "names: [a]\ntrain: a\nval: b", "labels_invalid", "choose one with --split"),
        ("a.csv", "x,y\n1,2\n", "labels_invalid", "a.csv"),
        ("a.txt", "", "labels_invalid", "of no known format"),
    ],
)
def test_data_sets_that_cannot_be_read_are_findings(name, text, kind, says, run_cli, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    result = run_cli("doctor", "--ann", tmp_path / name, "--json", tmp_path / "found.json")
    (found, *_) = json.loads((tmp_path / "found.json").read_text())
    assert result.code == 2 and found["kind"] == kind and says in found["message"], found


def test_labels_without_0_are_suspected_to_be_counted_from_1(shapes, run_cli, tmp_path):
    folder = tmp_path / "yolo"
    options = ("--to", "yolo", "--image-dir", shapes / "images", "--out-split", "train")
    assert run_cli("convert", shapes / "annotations.json", folder, *options).code == 0
    for path in (folder / "labels/train").iterdir():
        path.write_text("1 0.5 0.5 0.2 0.2\n4 0.5 0.5 0.4 0.4\n")
    result = run_cli("doctor", "--ann", folder, "--workers", 1)
    assert result.code == 1 and "- label_numbering_suspected: " in result.out
    said = "no object has label 0, 'circle'; labels go from 1 to 4: were they counted from 1?"
    assert said in result.out
    path.write_text("0 0.5 0.5 0.2 0.2\n")
    assert "label_numbering_suspected" not in run_cli("doctor", "--ann", folder).out


def test_sources_are_all_data_sets_of_a_config_once():
    coco = {"type": "CocoDataset", "ann_file": "a.json", "image_dir": "images"}
    masks = coco | {"with_masks": True, "pipeline": [{"type": "Resize", "scale": (9, 9)}]}
    other = coco | {"ann_file": "b.json", "metainfo": {"classes": ["rose"]}, "trust_boxes": True}
    own = {"type": "ShapesDataset", "num_images": 3}
    repeated = {"type": "RepeatDataset", "times": 2, "dataset": other}
    cfg = Config(
        {
            "train_data": {"dataset": {"type": "ConcatDataset", "datasets": [repeated, coco]}},
            "val_data": {"dataset": masks},
            "test_data": {"dataset": own},
        }
    )
    names = {
        s.name: (s.sections, s.classes, s.with_masks, s.trust_boxes) for s in find_sources(cfg)
    }
    assert names == {
        "b.json": (("train_data",), ("rose",), False, True),
        "a.json": (("train_data", "val_data"), None, True, False),
        "ShapesDataset": (("test_data",), None, False, False),
    }
    with pytest.raises(ValueError, match="no data set in train_data, val_data, test_data"):
        find_sources(Config({"model": {}}))


def test_splits_are_compared(shapes, tmp_path):
    ShapesDataset(num_images=2, image_size=(64, 64), data_seed=3).write(tmp_path / "val")
    train = Source(
        f"{shapes}/annotations.json", f"{shapes}/images", sections=("train_data", "test_data")
    )
    val = Source(
        f"{tmp_path}/val/annotations.json", f"{tmp_path}/val/images", sections=("val_data",)
    )
    (shapes / "images/extra.png").write_bytes(b"")
    _, found = examine([train, val], num_workers=1)
    kinds = [finding.kind for finding in found]
    assert kinds.count("split_leak") == 3 and kinds.count("image_unlisted") == 1
    assert "it is the data set of train_data and test_data" in found[0].message


def test_data_set_of_ones_own_is_checked_by_what_it_evaluates_on():
    own = {"type": "ShapesDataset", "num_images": 2, "image_size": (64, 64)}
    (result,), between = examine([Source("ShapesDataset", own_class=own)])
    assert between == [] and result.statistics[0].images == 2
    assert {finding.severity for finding in result.findings} <= {"note"}


@DATASETS.register_module()
class NumpyDataset(ShapesDataset):
    """Its ground truth is of NumPy's types, which are as good."""

    def coco_dict(self):
        content = super().coco_dict()
        for annotation in content["annotations"]:
            annotation["bbox"] = np.array(annotation["bbox"])
            annotation["id"] = np.int64(annotation["id"])
        return content


def test_numpy_types_of_a_data_set_are_numbers():
    own = {"type": "NumpyDataset", "num_images": 2, "image_size": (64, 64)}
    (result,), _ = examine([Source("NumpyDataset", own_class=own)])
    assert {finding.severity for finding in result.findings} <= {"note"}
