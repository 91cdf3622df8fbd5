"""List every method, one line each, with its paper. Nothing is imported: classes are parsed."""

import argparse
import ast
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from methods.config.names import CONF, list_choices


def main() -> None:
    """Run the verb."""
    parser = argparse.ArgumentParser(
        prog=sys.argv[0], description=__doc__, epilog="for instance: dec2vec methods"
    )
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with more method/*.yaml")
    folder = parser.parse_args().config_dir
    if folder is not None and not Path(folder).is_dir():
        sys.exit(f"{parser.prog}: --config-dir {folder} is no folder")
    for name in list_choices("method", config_dir=folder):
        print(f"{name:18} {describe_method(name, config_dir=folder)}")


def describe_method(name: str, *, config_dir: str | None = None) -> str:
    """Return the first line of a method's docstring, or why it cannot be found."""
    folders = [Path(folder) for folder in (config_dir, CONF) if folder]
    file = next(f for folder in folders if (f := folder / "method" / f"{name}.yaml").is_file())
    found = re.search(r"^_target_: *['\"]?([\w.]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        return f"({file} names no class: it has no _target_)"
    module, _, cls = found[1].rpartition(".")
    source = _find_source(module, Path(config_dir) if config_dir else None)
    if source is None:
        return f"({file} names {found[1]}, and there is no module {module})"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        return f"({source} cannot be parsed: {error})"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls:
            return (ast.get_docstring(node) or "(no docstring)").splitlines()[0]
    return f"({source} has no class {cls})"


def _find_source(module: str, folder: Path | None) -> Path | None:
    """Return the file of a module: beside a --config-dir, else where Python finds it."""
    inside = Path(*module.split(".")) if module else Path("none")
    for root in filter(None, (folder, CONF.parent)):
        for file in (root / inside.with_suffix(".py"), root / inside / "__init__.py"):
            if file.is_file():
                return file
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
