"""What is found, as text."""

from __future__ import annotations

from mmdet_lite.data.findings import Finding
from mmdet_lite.doctor.report import as_text


def test_many_files_that_are_not_listed_are_a_line_a_folder():
    files = ["data/a/1.png", "data/a/2.png", "data/b.png", "data/a/3.png", "data/a/4.png"]
    fix = "Nothing, if they belong to other splits."
    findings = [Finding("note", "image_unlisted", file, None, "not used", fix) for file in files]
    findings.insert(1, Finding("note", "class_unused", "a.json", 3, "no tulip", "Leave it out."))
    assert as_text(findings, "a.json") == (
        "notes\n"
        "- class_unused: a class without a single object (1):\n"
        "    no tulip\n"
        "  Leave it out.\n"
        "- image_unlisted: an image file is not listed (5):\n"
        "    4 in data/a: 1.png, 2.png, 3.png, ...\n"
        "    1 in data: b.png\n"
        "  Nothing, if they belong to other splits."
    )
