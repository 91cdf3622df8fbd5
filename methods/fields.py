"""Check values against the type hints of a dataclass, and build one from a config's values.

Only the hints that a config can express are checked: bool, int, float, str, Literal, None, unions,
sequences and mappings. A field with another hint (a plugin's own class) takes what it is given.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import difflib
import math
import numbers
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
SEQUENCES = (list, tuple, set, frozenset, abc.Sequence, abc.Collection, abc.Iterable)
MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return `; did you mean NAME?` for the valid name most like `name`, or nothing."""
    found = find_nearest_name(name, valid)
    return f"; did you mean {found}?" if found else ""


def find_nearest_name(name: object, valid: Iterable[str]) -> str | None:
    """Return the valid name most like `name`, or None where none is alike."""
    lower = {one.lower(): one for one in valid}
    cutoff = 0.6 if len(str(name)) > 3 else 0.5  # one letter of e5 is half of it
    found = difflib.get_close_matches(str(name).lower(), list(lower), n=1, cutoff=cutoff)
    return lower[found[0]] if found else None


def check_fields(instance: Any, *, key: str = "") -> None:
    """Check every field of a dataclass instance. Raises ValueError naming the field.

    key: what stands before the field's name in a message, for instance `recipe.`.
    """
    hints = get_field_hints(type(instance))
    for field in dataclasses.fields(instance):
        check_value(f"{key}{field.name}", getattr(instance, field.name), hints[field.name])


def build(target: type[T], values: Mapping[str, Any], *, key: str = "") -> T:
    """Make a dataclass of a config's values, every name and every type checked.

    key: the config section the values come from, for instance `recipe.trainable`. Raises
    ValueError for a name that the dataclass lacks or needs, and for a value of another type.
    """
    place = f"{key}." if key else ""
    hints = get_field_hints(target)
    fields = {f.name: f for f in dataclasses.fields(target) if f.init}  # pyright: ignore[reportArgumentType]
    for name, value in values.items():
        if name not in fields:
            raise ValueError(
                f"{place}{name}: {target.__name__} has no {name}; it has: {', '.join(fields)}"
                f"{nearest(name, fields)}"
            )
        check_value(f"{place}{name}", value, hints[name])
    missing = dataclasses.MISSING
    for name, field in fields.items():
        needed = field.default is missing and field.default_factory is missing
        if needed and name not in values:
            raise ValueError(f"{place}{name} has no value; give {place}{name}=...")
    return target(**values)


def check_value(key: str, value: Any, hint: Any) -> None:
    """Check one value against one type hint. Raises ValueError with the key and what is valid."""
    if not fits(value, hint):
        raise ValueError(_explain_fault(key, value, hint))


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of the type that a hint names; true for hints not known here."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    if hint in (None, type(None)):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return real and not math.isnan(value)  # pyright: ignore[reportArgumentType]
    if hint is str:
        return isinstance(value, str)
    if (origin or hint) in SEQUENCES:
        return _is_sequence_of(value, origin or hint, arguments)
    if (origin or hint) in MAPPINGS:
        kinds = arguments or (Any, Any)
        return isinstance(value, Mapping) and all(
            fits(k, kinds[0]) and fits(v, kinds[1]) for k, v in value.items()
        )
    return True


def get_field_hints(target: type) -> dict[str, Any]:
    """Return a dataclass's hints by field; Any for one that cannot be resolved at run time."""
    try:
        return get_type_hints(target)
    except (NameError, TypeError, AttributeError):  # names imported for type checkers alone
        found: dict[str, Any] = {}
        for cls in reversed(target.__mro__):
            names = vars(sys.modules.get(cls.__module__, types.ModuleType("none")))
            for name, hint in cls.__dict__.get("__annotations__", {}).items():
                try:
                    found[name] = eval(hint, dict(names)) if isinstance(hint, str) else hint
                except (NameError, TypeError, AttributeError):
                    found[name] = Any
        return found


def _is_sequence_of(value: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    return all(fits(one, arguments[0]) for one in value) if arguments else True


def _explain_fault(key: str, value: Any, hint: Any) -> str:
    """Return what is wrong with a value: its key, what was got, what is valid, what to write."""
    shown = f"{key} {value!r}" if isinstance(value, str) else f"{key} {_format_value(value)}"
    options = _list_options(hint)
    choices = [one for option in options for one in _list_choices(option)]
    kinds = [option for option in options if not _list_choices(option) and option is not type(None)]
    several = isinstance(value, list | tuple | set | frozenset)
    takes_several = any((get_origin(one) or one) in SEQUENCES for one in options)
    takes_mapping = any((get_origin(one) or one) in MAPPINGS for one in options)
    if isinstance(value, str) and takes_several:
        return f"{shown} is one value where a list is meant; write {key}=[{value}]"
    if several and not takes_several and not takes_mapping:
        first = _format_value(next(iter(value))) if value else "VALUE"
        return f"{shown} is a list where one value is meant, for instance {key}={first}"
    if choices and not kinds:
        valid = ", ".join(map(str, choices))
        return f"{shown} is unknown; valid: {valid}{nearest(value, map(str, choices))}"
    valid = ", ".join([*map(str, choices), *map(_name_hint, kinds)])
    none = ", null" if type(None) in options else ""
    message = f"{shown} is not valid; it takes {valid}{none}"
    if str in kinds and isinstance(value, int | float):
        message += f". Quote it to make it text: \"{key}='{_format_value(value)}'\""
    if bool in kinds and str(value).lower() in ("true", "false"):
        message += f". Write it without quotes: {key}={str(value).lower()}"
    return message


def _list_options(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [option for one in get_args(hint) for option in _list_options(one)]
    return [hint]


def _list_choices(hint: Any) -> tuple[Any, ...]:
    if hint is bool:
        return (True, False)
    return get_args(hint) if get_origin(hint) is Literal else ()


def _name_hint(hint: Any) -> str:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in MAPPINGS:
        of = f" of {_name_plural(arguments[1])}" if arguments else ""
        return "a mapping, {NAME: VALUE}" + of
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}: [{', '.join(map(_name_hint, arguments))}]"
    if origin in SEQUENCES:
        return "a list" + (f" of {_name_plural(arguments[0])}" if arguments else "")
    return NAMES.get(hint) or getattr(hint, "__name__", str(hint))


def _name_plural(hint: Any) -> str:
    plain = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
    if (get_origin(hint) or hint) in SEQUENCES:
        return "lists"
    return plain.get(hint, str(getattr(hint, "__name__", hint)))


def _format_value(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{','.join(map(_format_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_format_value(v)}" for k, v in value.items()) + "}"
    return str(value)
