"""What the doctor found, as text and as plain values."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmdet_lite.data.findings import KINDS, Finding
from mmdet_lite.data.problems import describe

_SEVERITIES = ("error", "warning", "note")
_EXAMPLES = 3  # of files of one folder


def as_text(findings: Sequence[Finding], file: str = "") -> str:
    """Findings for people: errors first, each kind with its count and the first examples.

    Args:
        findings: what was found.
        file: the annotation file that it is about; findings in others name theirs.
    """
    sections = []
    for severity in _SEVERITIES:
        if found := [finding for finding in findings if finding.severity == severity]:
            unlisted = [finding for finding in found if finding.kind == "image_unlisted"]
            others = [finding for finding in found if finding.kind != "image_unlisted"]
            parts = [f"{severity}s", *([describe(others, file)] if others else [])]
            sections.append("\n".join([*parts, *_unlisted(unlisted)]))
    return "\n\n".join(sections)


def _unlisted(findings: Sequence[Finding]) -> list[str]:
    """A line a folder: they may be many, and all the same is said of them."""
    if not findings:
        return []
    names = defaultdict(list)
    for finding in findings:
        folder, name = os.path.split(finding.file)
        names[folder].append(name)
    lines = [f"- image_unlisted: {KINDS['image_unlisted']} ({len(findings)}):"]
    for folder, of_folder in names.items():
        shown = ", ".join(of_folder[:_EXAMPLES]) + ", ..." * (len(of_folder) > _EXAMPLES)
        lines.append(f"    {len(of_folder)} in {folder}: {shown}")
    return [*lines, f"  {findings[0].fix}"]


def summary(findings: Sequence[Finding]) -> str:
    """'3 errors, 1 warning', or that nothing was found."""
    counts = Counter(finding.severity for finding in findings)
    parts = [f"{counts[s]} {s}{'s' * (counts[s] > 1)}" for s in _SEVERITIES if counts[s]]
    return ", ".join(parts) or "nothing found"


def exit_code(findings: Sequence[Finding]) -> int:
    """0: notes only, or nothing; 1: warnings; 2: errors."""
    found = {finding.severity for finding in findings}
    return 2 if "error" in found else 1 if "warning" in found else 0


def as_list(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings for a JSON file."""
    return [asdict(finding) for finding in findings]


def write_json(path: str | Path, content: Any, indent: int | None = 2) -> None:
    """Write a whole file, or none; its folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w") as file:
        json.dump(content, file, indent=indent)
        file.write("\n")
    os.replace(part, path)
