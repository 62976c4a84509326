"""Every file of the corpus is found out by the doctor, and does not train unnoticed."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
from corpus import Variant, all_variants, sound, write_images

from mmdet_lite.data.coco_checks import OF_ANNOTATIONS
from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.findings import KINDS
from mmdet_lite.doctor.annotations import check_annotation_file
from mmdet_lite.doctor.statistics import dataset_statistics

VARIANTS = all_variants()
OF_IMAGES = {
    *("image_missing", "image_unlisted", "size_mismatch", "exif_rotated", "split_leak"),
    *("image_corrupt", "image_unusual"),
}
OF_FILES = {"file_missing", "no_images", "labels_invalid", "label_numbering_suspected"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_images(folder)
    return folder


def test_corpus_has_every_kind_several_times():
    counts = Counter(variant.kind for variant in VARIANTS)
    assert len(VARIANTS) >= 200 and len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    assert counts.keys() == KINDS.keys() - OF_IMAGES - OF_FILES
    assert min(counts.values()) >= 3


def test_files_that_are_not_there_or_hold_nothing(tmp_path):
    path = tmp_path / "a.json"

    def found() -> list[tuple[str, str]]:
        findings = check_annotation_file(path).findings
        return [(f.severity, f.kind) for f in findings if f.kind in OF_FILES]

    assert found() == [("error", "file_missing")]
    content = sound("shapes")
    content["annotations"] = []
    path.write_text(json.dumps(content))
    assert found() == [("warning", "no_images")]
    content["images"] = []
    path.write_text(json.dumps(content))
    assert found() == [("error", "no_images")]


@pytest.mark.parametrize("base", ["polygons", "shapes"])
def test_sound_files_have_no_findings(base, images, tmp_path, caplog):
    path = tmp_path / "sound.json"
    path.write_text(json.dumps(sound(base)))
    assert check_annotation_file(path, with_masks=True).findings == []
    assert len(CocoDataset(str(path), str(images / base), with_masks=True))
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_defect_is_found(variant: Variant, tmp_path):
    path = tmp_path / "wrong.json"
    path.write_bytes(variant.text)
    report = check_annotation_file(path, with_masks=True)
    findings = report.findings
    if report.columns is not None:
        dataset_statistics(report.content)  # of what is left
    found = {(f.severity, f.kind, f.id, f.file) for f in findings}
    assert (variant.severity, variant.kind, variant.id, str(path)) in found
    assert {finding.kind for finding in findings} <= {variant.kind} | variant.also


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_error_does_not_load(variant: Variant, images, tmp_path, caplog):
    path = tmp_path / "wrong.json"
    path.write_bytes(variant.text)
    arguments = {"ann_file": str(path), "image_dir": str(images / variant.base)}
    caplog.set_level(logging.WARNING, "mmdet_lite")
    if variant.severity == "error":
        with pytest.raises(ValueError, match=f"- {variant.kind}: ") as error:
            CocoDataset(**arguments, with_masks=True)
        assert str(path) in str(error.value)
        return
    CocoDataset(**arguments, with_masks=True)
    if variant.kind in OF_ANNOTATIONS:
        assert f"- {variant.kind}: " in caplog.text and f"annotation {variant.id} " in caplog.text
