"""Python literals as text, read without running anything."""

from __future__ import annotations

import ast
from typing import Any

_CONSTANTS = {"inf": float("inf"), "nan": float("nan")}  # as Python prints them


def read_literal(text: str) -> Any:
    """The value that a literal stands for.

    Args:
        text: as Python has it, and ``dict(key=value)``, ``inf`` and ``nan`` too.

    Raises:
        ValueError: it is no literal.
        SyntaxError: it is no Python.
    """
    return _value(ast.parse(text, mode="eval").body)


def read_assignments(text: str) -> dict[str, Any]:
    """The variables of a program that does nothing but assign literals to names.

    Args:
        text: of the program.

    Raises:
        ValueError: it does something else; the message has the line.
        SyntaxError: it is no Python.
    """
    values = {}
    for statement in ast.parse(text).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        try:
            if len(targets) != 1 or not isinstance(targets[0], ast.Name):
                raise ValueError("it is no assignment to a name")
            values[targets[0].id] = _value(statement.value)
        except ValueError as error:
            reason = str(error).partition(" on line")[0]
            raise ValueError(
                f"line {statement.lineno} is not NAME = LITERAL: {ast.unparse(statement)[:80]!r} "
                f"({reason})"
            ) from error
    return values


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("a dict is written as dict(key=value) or {'key': value}")
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): _value(value) for key, value in pairs}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Name):
        return -_value(node.operand)  # -inf
    return ast.literal_eval(node)
