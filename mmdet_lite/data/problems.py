"""Everything that is wrong with a data set, gathered before it is reported at once."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from mmdet_lite.data.findings import KINDS, Finding, Severity

SHOWN = 10  # examples of each kind of finding; the count is always given
SKIP = "Correct the file, or leave these out with bad_annotations='skip'."  # what to do

_repr = reprlib.Repr()
_repr.maxlist = _repr.maxdict = 8
_repr.maxstring = _repr.maxother = 80


class Problems:
    """Findings in one file, which become one error message.

    Args:
        file: what is checked.
    """

    def __init__(self, file: str | Path):
        self.file = str(file)
        self.found: list[Finding] = []

    def add(
        self, severity: Severity, kind: str, key: int | str | None, message: str, fix: str
    ) -> None:
        """Note one defect; the arguments are those of a :class:`Finding`."""
        self.found.append(Finding(severity, kind, self.file, key, message, fix))

    def errors(self, spared: Collection[str] = ()) -> list[Finding]:
        """The findings that make the file unusable.

        Args:
            spared: kinds that do not count, as what they are about is left out.
        """
        return [f for f in self.found if f.severity == "error" and f.kind not in spared]

    def raise_if_any(self, verdict: str, spared: Collection[str] = ()) -> None:
        """Report all errors.

        Args:
            verdict: what they mean for the file: 'cannot be used'.
            spared: kinds that do not count.

        Raises:
            ValueError: there are errors.
        """
        if errors := self.errors(spared):
            raise ValueError(f"annotation file {self.file} {verdict}:\n{describe(errors)}")


def describe(findings: Sequence[Finding], file: str | None = None) -> str:
    """Findings as text, by kind: heading with count, the first examples, what to do.

    Args:
        findings: what was found.
        file: the one that it is about, whose name need not be repeated; None: that of the first.
    """
    file = findings[0].file if file is None and findings else file
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.fix), []).append(finding)
    return "\n".join(_describe(*key, found, file) for key, found in groups.items())


def _describe(kind: str, fix: str, findings: list[Finding], file: str | None) -> str:
    lines = [f"- {kind}: {KINDS[kind]} ({len(findings)}):"]
    for finding in findings[:SHOWN]:
        place = "" if finding.file == file else f"{finding.file}: "
        lines.append(f"    {place}{finding.message}")
    if len(findings) > SHOWN:
        lines.append(f"    ... and {len(findings) - SHOWN} more")
    return "\n".join([*lines, f"  {fix}"])


def show(value: Any) -> str:
    """A value of a file for a message: short, and without what a terminal cannot show."""
    return _repr.repr(value)
