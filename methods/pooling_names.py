"""Find a pooling by its name: a function in methods/pooling.py, or in a pooling.py of your own.

Every public function of methods/pooling.py is a pooling, and so is every one of DIR/pooling.py,
where DIR is the folder that --config-dir (config_dir in Python) names. A built-in one is identified
by its name alone, one of your own by its name and a digest of its code.

B rows, L positions, D hidden size.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from methods import pooling as built_in_poolings
from methods.fields import nearest
from methods.identity import digest_file_code

Pooling = str  # the type of a method's field
Function = Callable[[Tensor, Tensor], Tensor]
FILE = "pooling.py"


class OwnPooling(str):
    """The name of a pooling from outside, with its function and a digest of its code."""

    function: Function
    code: str


def list_built_in() -> dict[str, Function]:
    """Return the poolings of methods/pooling.py by name, in their order there."""
    module = built_in_poolings
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    }


def find_pooling(name: Any, folder: str | Path | None = None) -> Any:
    """Return a pooling's name, with its function where it is one of `folder`.

    A value that is no text is returned unchanged: the method checks the type of its field. Raises
    ValueError for an unknown name, and for a function that cannot be called as a pooling.
    """
    if not isinstance(name, str) or isinstance(name, OwnPooling):
        return name
    file = Path(folder or ".").expanduser().resolve() / FILE
    own = _list_functions(file) if folder is not None and file.is_file() else []
    if name not in own:
        check_pooling(name, own)
        return name
    if name in list_built_in():
        raise ValueError(f"pooling {name} is built in and defined in {file} too; rename that one")
    found = OwnPooling(name)
    found.function, found.code = getattr(_load(file), name), digest_file_code(file)
    try:
        inspect.signature(found.function).bind(None, None)
    except TypeError as error:
        raise ValueError(
            f"{name} in {file} cannot be called as a pooling ({error}); it takes hidden_BLD and "
            f"pool_mask_BL and returns [B, D]"
        ) from error
    return found


def check_pooling(name: str, own: list[str] | None = None) -> None:
    """Raise ValueError for a name that is no pooling, listing what there is and how to add one.

    own: the names in a folder of your own.
    """
    valid = [*list_built_in(), *(own or [])]
    if isinstance(name, OwnPooling) or name in valid:
        return
    if name in ("eos", "eos_token", "cls"):
        advice = ". To pool an EOS token use pooling=last with a method that appends one."
    else:
        advice = f"{nearest(name, valid) or '.'} To add one write a function of that name in "
        advice += f"DIR/{FILE} and give --config-dir DIR (in Python config_dir=DIR)"
    raise ValueError(f"pooling {name!r} is unknown; valid: {', '.join(valid)}{advice}")


def pool_by_name(hidden_BLD: Tensor, pool_mask_BL: Tensor, name: str) -> Tensor:
    """Pool right-padded hidden states: [B, D]. A pooling of your own gets them in float32."""
    if isinstance(name, OwnPooling):
        return name.function(hidden_BLD.float(), pool_mask_BL)
    return list_built_in()[name](hidden_BLD, pool_mask_BL)


def identify_pooling(name: str) -> Any:
    """Return what identifies a pooling: its name, and the code digest of one of your own."""
    return [str(name), name.code] if isinstance(name, OwnPooling) else name


def _list_functions(file: Path) -> list[str]:
    """Return the public functions that a file defines; it is parsed, not imported."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{file} cannot be parsed: {error}") from error
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if not name.startswith("_")]


def _load(file: Path) -> ModuleType:
    """Run a file as a new module, so that folders do not share one and an edit takes effect."""
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    try:
        exec(compile(file.read_bytes(), file, "exec"), vars(module))
    except Exception as error:
        message = f"{file} cannot be run: {type(error).__name__}: {error}"
        raise ValueError(message) from error
    return module
