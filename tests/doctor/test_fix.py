"""Corrections: what has one clear reading is corrected, the rest is said to be left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus import Variant, all_variants, sound

from mmdet_lite.doctor.annotations import check_annotation_file
from mmdet_lite.doctor.fix import write_corrected

# Kinds of which nothing is left; of the others some cases have no clear reading, or none has.
CORRECTED = {
    *("box_degenerate", "box_outside", "box_xyxy_suspected", "box_normalized_suspected"),
    "box_center_suspected",
    *("unknown_image", "unknown_category", "area_mismatch", "polygon_too_short", "polygon_odd"),
}
VARIANTS = [variant for variant in all_variants() if variant.kind in CORRECTED]
LEFT = ("json_invalid", "rle_invalid", "not_finite", "mask_box_disagree", "category_ids_sparse")


def correct(variant: Variant, folder: Path) -> tuple[Path, Path, dict]:
    """The file, the corrected one, and what was written of the changes."""
    path, out = folder / "wrong.json", folder / "right.json"
    path.write_bytes(variant.text)
    write_corrected(path, out)
    assert path.read_bytes() == variant.text
    return path, out, json.loads((folder / "right.json.changes.json").read_text())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_defect_is_gone(variant, tmp_path):
    _, out, written = correct(variant, tmp_path)
    assert variant.kind in {change["kind"] for change in written["changes"]}
    left = {finding.kind for finding in check_annotation_file(out).findings}
    assert variant.kind not in left
    assert left == {finding["kind"] for finding in written["left"]}


@pytest.mark.parametrize("kind", LEFT)
def test_what_has_no_clear_reading_is_left(kind, tmp_path):
    variant = next(variant for variant in all_variants() if variant.kind == kind)
    if kind == "json_invalid":
        with pytest.raises(ValueError, match="cannot be corrected:\n- json_invalid"):
            correct(variant, tmp_path)
        return
    _, out, written = correct(variant, tmp_path)
    assert written["changes"] == []
    assert kind in {finding["kind"] for finding in written["left"]}
    assert out.read_bytes().strip() == variant.text


@pytest.mark.parametrize("base", ["polygons", "shapes"])
def test_converted_boxes_are_those_of_the_sound_file(base, tmp_path):
    readings = ("as_xyxy", "pixel_centers", "shares", "corners")
    for number, variant in enumerate(v for v in VARIANTS if v.base == base):
        if variant.name.rpartition(" ")[2] not in readings:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        _, out, _ = correct(variant, folder)
        boxes = [a["bbox"] for a in json.loads(out.read_text())["annotations"]]
        expected = [a["bbox"] for a in sound(base)["annotations"]]
        assert boxes == [pytest.approx(box, abs=2e-3) for box in expected]


def test_repeated_ids_are_merged_or_renumbered(tmp_path):
    content = sound("polygons")
    content["images"].append(content["images"][0])
    content["annotations"].append(content["annotations"][0])
    content["annotations"].append(content["annotations"][0] | {"image_id": 5})
    (tmp_path / "in.json").write_text(json.dumps(content))
    correction = write_corrected(tmp_path / "in.json", tmp_path / "out.json")
    assert [(c.section, c.id, c.action) for c in correction.changes] == [
        ("images", 3, "repeated, the same in all"),
        ("annotations", 300, "repeated, the same in all"),
        ("annotations", 300, "id: renumbered"),
    ]
    corrected = json.loads((tmp_path / "out.json").read_text())
    assert len(corrected["images"]) == 3
    assert [a["id"] for a in corrected["annotations"]][-2:] == [999, 1000]
    assert correction.left == []


def test_polygons_without_the_list_around_them_get_it(tmp_path):
    content = sound("polygons")
    (part,) = content["annotations"][1]["segmentation"]
    content["annotations"][1]["segmentation"] = part
    (tmp_path / "in.json").write_text(json.dumps(content))
    correction = write_corrected(tmp_path / "in.json", tmp_path / "out.json")
    assert [(c.id, c.before, c.after) for c in correction.changes] == [(301, part, [part])]
    assert json.loads((tmp_path / "out.json").read_text()) == sound("polygons")


@pytest.mark.parametrize("name", ["in.json", "there.json", "new.json"])
def test_no_file_is_written_over(name, tmp_path):
    text = json.dumps(sound("polygons"))
    for existing in ("in.json", "there.json", "new.json.changes.json"):
        (tmp_path / existing).write_text(text)
    with pytest.raises(FileExistsError, match=f"--fix: .*{name}.* exists"):
        write_corrected(tmp_path / "in.json", tmp_path / name)
    assert not (tmp_path / "new.json").exists() and (tmp_path / "in.json").read_text() == text
