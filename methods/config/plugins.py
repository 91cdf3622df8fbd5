"""Plugins from outside: modules beside a folder with method/*.yaml, named by their `_target_`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

OWN_MODULE = "a module of your own stands in the folder that --config-dir names"


def make_importable(folder: str | os.PathLike[str]) -> Path:
    """Make the modules in a config folder importable, for `_target_`, and return its path.

    Raises ValueError if there is no such folder.
    """
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        raise ValueError(
            f"config_dir {str(folder)!r} is no folder; give one that has method/*.yaml"
        )
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    return path


def export_importable(folder: str | os.PathLike[str]) -> None:
    """Make a config folder's modules importable here and in the processes that launchers start."""
    path = str(make_importable(folder))
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if path not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([path, *filter(None, known)])


def check_imported_from(folder: Path, target: str) -> None:
    """Refuse a `_target_` whose module is beside a config folder but was imported from elsewhere.

    Python imports a module's name once a process, so a second plugin of that name would not be
    read. Raises ValueError naming both files.
    """
    name = target.partition(".")[0]
    files = [folder / f"{name}.py", folder / name / "__init__.py"]
    own = next((file for file in files if file.is_file()), None)
    imported = getattr(sys.modules.get(name), "__file__", None)
    if own is not None and imported is not None and not own.samefile(imported):
        raise ValueError(
            f"{target} stands in {own}, but this process has imported {name} from {imported}; "
            f"rename one of the two modules"
        )


def import_class(target: Any, key: str, *, hint: str = OWN_MODULE) -> Any:
    """Return the class that a key names as `module.Class`.

    hint: what is valid, for the message. Raises ValueError where the class cannot be imported.
    """
    module, _, name = str(target).rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(f"{key}={target} cannot be imported: {error}; {hint}") from error
