"""Plain values written as Python, read without running it."""

from __future__ import annotations

import ast


def read_literal(node: ast.expr) -> object:
    """A literal in which a dict may be written as ``dict(key=value)`` too.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("a dict is written as dict(key=value) or {'key': value}")
        return {keyword.arg: read_literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Name) and node.id == "inf":  # as Python prints it
        return float("inf")
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): read_literal(value) for key, value in pairs}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [read_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)
