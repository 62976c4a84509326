"""Reading a COCO annotation file: that it is there, and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmdet_lite.data.problems import Problems
from mmdet_lite.near_files import near_names

CocoDict = dict[str, list[dict]]

_MOST_FLOATS = 500_000  # that are kept, about 80 MB
_COMPLETE = "Is it the annotation file, and complete?"


def read_json(path: Path, problems: Problems) -> Any:
    """Read a file, whatever its content is.

    Args:
        path: the file.
        problems: where it is noted if it is not JSON.

    Returns:
        The content; None if there are problems.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"annotation file not found: {path} (absolute: {path.absolute()}{near_names(path)}). "
            "Correct ann_file; a relative path starts at the folder that the command is run in"
        )
    fault = None
    try:
        return json.loads(_read_text(path), parse_float=_Floats().__getitem__)
    except json.JSONDecodeError as error:
        fault = _describe(error)
    except UnicodeDecodeError as error:
        fault = f"it is binary: {error}"
    except RecursionError:
        fault = "its lists or dicts are nested hundreds of times"
    except ValueError as error:  # a number of thousands of digits
        fault = str(error)
    problems.add("error", "json_invalid", None, fault, _COMPLETE)
    return None


class _Floats(dict):
    """Text to number, each number once: coordinates repeat, and this halves the memory they take.

    A dict, so that a number that came before is found without a call of Python's.
    """

    def __missing__(self, text: str) -> float:
        value = float(text)
        if len(self) < _MOST_FLOATS:
            self[text] = value
        return value


def _read_text(path: Path) -> str:
    data = path.read_bytes()  # is gone before the text is parsed
    return data.decode(json.detect_encoding(data))


def _describe(error: json.JSONDecodeError) -> str:
    if not error.doc.strip("\x00 \t\r\n"):
        return "it is empty" if not error.doc else "it holds nothing but spaces or zeros"
    place = f"line {error.lineno}, column {error.colno}"
    at_end = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
    if at_end and error.msg != "Extra data":
        return f"it ends too early, it is cut off: {error.msg} ({place})"
    return f"{error.msg} ({place})"
