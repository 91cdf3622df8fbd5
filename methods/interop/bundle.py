"""Copy a method and the code it needs into a folder, so that it runs without dec2vec.

transformers loads code of a model folder from files that lie side by side, and finds those by lines
`from .NAME import ...` (its get_relative_imports). So every file that is reached from the exported
module and from the method's page is copied under a name of its own, and its imports of other copied
files are rewritten to that form; nothing else of a file is changed.
"""

from __future__ import annotations

import ast
import inspect
import re
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

from methods.base import Method
from methods.folders import ROOT
from methods.pooling_names import OwnPooling

MODULE = "dec2vec_module"
ENTRY = f"{MODULE}.DecoderEmbedder"
HERE = Path(__file__).parent
HEAD = '''"""What SentenceTransformer(DIR, trust_remote_code=True) runs: a method on the model here.

The other files beside this one are copies from dec2vec (Apache-2.0), with their imports rewritten.
"""
'''
INSTALLED = {"site-packages", "dist-packages"}


def write_code(method: Method, folder: Path) -> list[str]:
    """Write the method's code and what it imports into a folder; return the files' names.

    Raises ValueError for a method whose code cannot be copied.
    """
    cls = type(method)
    bundle = _Bundle()
    exported = bundle.add(HERE / "exported_module.py", ["methods", "interop"])
    page = bundle.add(*_find_page(cls))
    lines = [f"from .{exported} import ExportedMethod", f"from .{page} import {cls.__name__}"]
    fields = [f"    method_class = {cls.__name__}"]
    if isinstance(method.pooling, OwnPooling):
        file = Path(method.pooling.function.__code__.co_filename)
        own = bundle.add(file, [])
        lines.append(f"from .{own} import {method.pooling} as own_pooling")
        fields.append("    own_pooling = staticmethod(own_pooling)")
    doc = f'    """{cls.__name__} on the model in this folder."""'
    main = [HEAD, *sorted(lines), "", "", "class DecoderEmbedder(ExportedMethod):", doc, ""]
    written = {MODULE: "\n".join([*main, *fields, ""]), **bundle.texts}
    for name, text in written.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return [f"{name}.py" for name in written]


def _find_page(cls: type) -> tuple[Path, list[str]]:
    """Return the file of a method's class and the package that the file is in."""
    module = inspect.getmodule(cls)
    file = getattr(module, "__file__", None)
    if module is None or file is None or cls.__name__ != cls.__qualname__:
        raise ValueError(
            f"{cls.__qualname__} cannot be exported: its class is not at the top of a module with "
            f"a file, so its code cannot be copied; move it into a .py file"
        )
    return Path(file), module.__package__.split(".") if module.__package__ else []


@dataclass
class _Bundle:
    """Files that were copied: their names by path, and their texts by name."""

    names: dict[Path, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, file: Path, package: list[str]) -> str:
        """Add a file and all it imports of its own code; return the name of its copy."""
        file = file.resolve()
        if file in self.names:
            return self.names[file]
        name = file.stem
        if package[:1] != ["methods"]:
            name = "_".join([*package[1:], name] if name != "__init__" else package)
        while name in self.names.values() or name == MODULE:
            name = f"own_{name}"
        self.names[file] = name
        with tokenize.open(file) as stream:
            source = stream.read()
        base = file.parents[len(package)] if package else file.parent
        self.texts[name] = self._rewrite(source, file, package, base)
        return name

    def _rewrite(self, source: str, file: Path, package: list[str], base: Path) -> str:
        """Return a file's text with its imports of copied files made relative."""
        lines = source.splitlines(keepends=True)
        nodes = ast.walk(ast.parse(source))
        imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in sorted(imports, key=lambda node: node.lineno, reverse=True):
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            statement = "".join(lines[first:last])
            new = self._rewrite_import(node, statement, file, package, base)
            if new is not None:
                lines[first:last] = [new]
        return "".join(lines)

    def _rewrite_import(
        self,
        node: ast.Import | ast.ImportFrom,
        statement: str,
        file: Path,
        package: list[str],
        base: Path,
    ) -> str | None:
        """Return the new statement, or None for an import of something that is installed."""
        indent = " " * node.col_offset
        if isinstance(node, ast.Import):
            found = [(a, self._find(a.name.split("."), file, package, base)) for a in node.names]
            if not any(name for _, name in found):
                return None
            if wrong := [a.name for a, name in found if name and "." in a.name and not a.asname]:
                raise ValueError(
                    f"{file}, line {node.lineno}: `import {wrong[0]}` cannot be copied into an "
                    f"exported folder; write `import {wrong[0]} as NAME`"
                )
            made = [_import_module(n, a.asname or a.name) if n else _plain(a) for a, n in found]
            return _stack(indent, made)
        above = package[: len(package) - node.level + 1] if node.level else []
        stem = [*above, *(node.module.split(".") if node.module else [])]
        inner = [self._find([*stem, a.name], file, package, base) for a in node.names]
        if any(inner):  # modules of a package
            if not all(inner):
                raise ValueError(
                    f"{file}, line {node.lineno}: modules and names of a package are imported in "
                    f"one statement, which cannot be copied into an exported folder; write two"
                )
            pairs = zip(node.names, inner, strict=True)
            return _stack(indent, [_import_module(str(n), a.asname or a.name) for a, n in pairs])
        name = self._find(stem, file, package, base)
        if name is None:
            return None
        written = r"\.*\s*" + re.escape(node.module or "")
        return re.sub(rf"from\s+{written}\s+import", f"from .{name} import", statement, count=1)

    def _find(self, parts: list[str], file: Path, package: list[str], base: Path) -> str | None:
        """Return the name of the copy of a module that is the method's own or the contract's."""
        root = ROOT if parts[:1] == ["methods"] else base
        place = root.joinpath(*parts)
        candidates = [(place.with_suffix(".py"), parts[:-1]), (place / "__init__.py", parts)]
        found = next((one for one in candidates if one[0].is_file()), None)
        if found is None:
            return None
        if root == ROOT and not _may_be_copied(file, parts):
            raise ValueError(
                f"{file} imports {'.'.join(parts)}, which an exported folder cannot hold; a method "
                f"imports methods.base alone"
            )
        own_package = package[:1] == parts[:1]
        if root != ROOT and not own_package and INSTALLED & set(found[0].parts):
            return None
        return self.add(*found)


def _may_be_copied(file: Path, parts: list[str]) -> bool:
    """Return whether a module of dec2vec may go into an exported folder: the contract and what the
    exported module itself imports."""
    ours = file.is_relative_to((ROOT / "methods").resolve())
    return len(parts) == 2 or (ours and len(parts) == 3)


def _import_module(name: str, alias: str) -> str:
    """Return statements that import a copied file as a module: transformers finds it by the first
    one."""
    return f"from .{name} import __name__ as _{name}; from . import {name} as {alias}"


def _plain(alias: ast.alias) -> str:
    return f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")


def _stack(indent: str, statements: list[str]) -> str:
    return "".join(f"{indent}{one}\n" for one in statements)
