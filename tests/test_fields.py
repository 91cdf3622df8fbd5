"""Values are checked against the hints of whatever dataclass they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from methods.fields import build, check_fields, fits

if TYPE_CHECKING:
    from somewhere import Unknown


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """As somebody else may write one: with a hint that only type checkers resolve."""

    size: int = 1
    rate: float = 0.5
    on: bool = False
    kind: Literal["a", "b"] = "a"
    pair: tuple[str, str] | None = None
    names: Sequence[str] = ()
    by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    own: Unknown | None = None

    def __post_init__(self) -> None:
        check_fields(self)


GOOD = [
    {"size": np.int64(3), "rate": 2, "on": True, "kind": "b"},
    {"pair": ["x", "y"], "names": ("x",), "by": {"x": ["test"]}, "own": object()},
    {"pair": None},
]
BAD = [
    ({"size": 1.5}, "part.size 1.5 is not valid; it takes a whole number"),
    ({"size": True}, "part.size true is not valid; it takes a whole number"),
    ({"size": "lots"}, "part.size 'lots' is not valid; it takes a whole number"),
    ({"size": None}, "part.size null is not valid"),
    ({"size": [1, 2]}, "part.size [1,2] is a list where one value is meant, for instance"),
    ({"rate": float("nan")}, "part.rate nan is not valid; it takes a number"),
    ({"rate": False}, "part.rate false is not valid"),
    ({"on": "true"}, "part.on 'true' is unknown; valid: True, False"),
    ({"on": 1}, "part.on 1 is unknown"),
    ({"kind": "c"}, "part.kind 'c' is unknown; valid: a, b"),
    ({"kind": ["a"]}, "part.kind [a] is a list where one value is meant"),
    ({"pair": ["x"]}, "part.pair [x] is not valid; it takes a list of 2: [text, text], null"),
    (
        {"names": "STS12"},
        "part.names 'STS12' is one value where a list is meant; write part.names=",
    ),
    ({"names": [1]}, "part.names [1] is not valid; it takes a list of texts"),
    ({"by": {"x": "test"}}, "part.by {x:test} is not valid; it takes a mapping"),
    ({"by": ["x"]}, "part.by [x] is not valid; it takes a mapping, {NAME: VALUE}"),
    ({"siez": 1}, "Plugin has no siez; it has: size, rate"),
    ({"siez": 1}, "did you mean size?"),
]


@pytest.mark.parametrize("values", GOOD)
def test_what_a_hint_allows_is_taken_and_an_unresolved_hint_takes_anything(values: Any) -> None:
    assert build(Plugin, values, key="part") == Plugin(**values)


@pytest.mark.parametrize(("values", "message"), BAD)
def test_what_a_hint_does_not_allow_is_told_by_its_key(values: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        build(Plugin, values, key="part")
    assert message in str(error.value)


def test_a_plugin_is_checked_however_it_is_made() -> None:
    with pytest.raises(ValueError, match="size 'lots' is not valid"):
        Plugin(size="lots")  # type: ignore[arg-type]


def test_a_needed_field_is_named() -> None:
    @dataclass
    class Needs:
        path: str

    with pytest.raises(ValueError, match="source.path has no value; give source.path="):
        build(Needs, {}, key="source")


def test_a_hint_that_is_not_known_here_takes_what_it_is_given() -> None:
    assert fits(3, complex) and fits("x", Any)
