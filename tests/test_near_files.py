"""Where a missing file was looked for, and what is there instead."""

from __future__ import annotations

from mmdet_lite.near_files import near_names, where_missing


def test_near_names_in_the_folder_are_told(tmp_path):
    for name in ("epoch_11.pth", "epoch_12.pth", "log.jsonl"):
        (tmp_path / name).touch()
    assert where_missing(tmp_path / "epoch_2.pth") == (
        f"(looked for {tmp_path}/epoch_2.pth; there is no 'epoch_2.pth' in {tmp_path}; near "
        "matches there: epoch_12.pth, epoch_11.pth)"
    )


def test_the_first_folder_that_is_missing_is_told(tmp_path):
    (tmp_path / "mask").mkdir()
    assert where_missing(tmp_path / "maks/run/epoch_2.pth").endswith(
        f"; there is no 'maks' in {tmp_path}; near matches there: mask)"
    )


def test_without_a_near_name_there_is_no_hint(tmp_path):
    (tmp_path / "log.jsonl").touch()
    assert where_missing(tmp_path / "a.pth").endswith(f"; there is no 'a.pth' in {tmp_path})")


def test_near_names_alone(tmp_path):
    (tmp_path / "annotations.json").touch()
    assert near_names(tmp_path / "annotation.json") == "; near matches there: annotations.json"
    assert near_names(tmp_path / "else.csv") == ""
