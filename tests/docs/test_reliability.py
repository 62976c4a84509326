"""Every row of the table names the test that wrote it. Run with: pytest tests/docs"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "docs/reliability.md"


def recording_tests() -> set[str]:
    """'file.py::function' of all tests that record a row."""
    found = set()
    for path in (ROOT / "tests/faults").glob("test_*.py"):
        functions = (n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef))
        for function in functions:
            records = "record_row" in {argument.arg for argument in function.args.args}
            if function.name.startswith("test_") and records:
                found.add(f"{path.name}::{function.name}")
    return found


def test_the_table_has_a_row_of_every_test_and_no_other():
    table = (ROOT / PAGE).read_text().partition("## What was tried")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .* \| `(\w+\.py::\w+)`(?:, \d+ cases)? \|$", table, re.M)
    assert len(rows) == len(re.findall(r"^\| (?!fault |---)", table, re.M)), "a row without a test"
    assert set(rows) == recording_tests()


@pytest.mark.parametrize("name, code", [("EXIT_PREEMPTED", 75), ("EXIT_STALLED", 76)])
def test_exit_codes_are_those_of_the_program(name, code):
    sources = [path.read_text() for path in (ROOT / "mmdet_lite/engine").glob("*.py")]
    assert any(f"{name} = {code}" in source for source in sources)
    assert f"| {code} |" in (ROOT / PAGE).read_text()
