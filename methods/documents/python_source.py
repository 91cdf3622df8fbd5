"""Read the docstrings of a Python source, a section for each module, class and function."""

from __future__ import annotations

import ast
import inspect

from methods.documents.sections import Section, Text

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def read_python(text: str) -> Text:
    """Return a source's docstrings, one after the other. Raises ValueError for no Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"no Python that this interpreter reads: {error}") from error
    parts: list[str] = []
    sections: list[Section] = []
    length = 0
    for names, docstring in _list_docstrings(tree, ()):
        sections.append(Section(names, length, length + len(docstring)))
        parts.append(docstring + "\n\n")
        length += len(parts[-1])
    return Text("".join(parts), tuple(sections))


def _list_docstrings(node: Documented, names: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    docstring = inspect.cleandoc(ast.get_docstring(node, clean=False) or "").strip()
    found = [(names, docstring)] if docstring else []
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found += _list_docstrings(inner, (*names, inner.name))
    return found
