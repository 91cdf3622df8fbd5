"""Check the words of a command line before Hydra composes a config from them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from hydra.errors import OverrideParseException

from methods.cli.manual import find_experiment_verb
from methods.cli.mistakes import (
    explain_unknown_choice,
    explain_unknown_key,
    explain_unreadable,
    quote,
)
from methods.config.names import OPTIONAL, list_choices, list_groups, list_root_keys
from methods.fields import find_nearest_name

FLAGS = ("-m", "--multirun", "-r", "--run", "--resolve", "--hydra-help", "-sc")
FLAGS += ("--shell-completion", "--version")
VALUED = ("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name")
VALUED += ("-cd", "--config-dir", "-i", "--info", "--experimental-rerun")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return Hydra's options and the KEY=VALUE words: its parser wants each kind together.

    Raises ValueError for an option that Hydra does not have.
    """
    options: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if word in FLAGS or (name in VALUED and value):
            options.append(word)
        elif word in VALUED:
            options += [word, *rest[:1]]
            rest = rest[1:]
        elif re.match(r"--?[a-zA-Z]", word):
            if close := find_nearest_name(name, ("--help", "--multirun", "--config-dir", "--cfg")):
                raise ValueError(f"{word} is no option; did you mean {close}?")
            if len(name.lstrip("-")) == 1:
                raise ValueError(f"{word} is no option; valid: -m, -h, --config-dir DIR, --cfg job")
            value = value or (rest[0] if rest and "=" not in rest[0] else "VALUE")
            raise ValueError(f"{word} is no option; write {name.lstrip('-')}={value}")
        else:
            words.append(word)
    return options, words


def check_arguments(verb: str, options: Sequence[str], words: Sequence[str]) -> None:
    """Raise ValueError for the first word that names nothing, with what was probably meant."""
    folder = next(
        (b for a, b in zip(options, options[1:], strict=False) if a == "--config-dir"), ""
    )
    overrides = [_parse_word(verb, words, place) for place in range(len(words))]
    given = [override.key_or_group for override in overrides]
    if twice := next((key for key in given if given.count(key) > 1), None):
        values = ",".join(_get_value(o) for o in overrides if o.key_or_group == twice)
        job = f"; for a job each write -m {twice}={values}" if twice in list_groups(verb) else ""
        raise ValueError(f"{twice} is given {given.count(twice)} times; give it once{job}")
    searched = any(o.key_or_group == "hydra.searchpath" for o in overrides)
    for override in overrides:
        key = override.key_or_group
        root = re.split(r"[./@:]", key)[0]
        if root != "hydra" and root not in list_root_keys(verb):
            raise ValueError(explain_unknown_key(verb, key, _get_value(override)))
        if override.is_delete() and key in list_root_keys(verb) and key not in OPTIONAL:
            raise ValueError(
                f"~{key} takes away what is needed; write {key}=VALUE, or leave it out"
            )
        if key in list_groups(verb) and not override.is_delete() and not searched:
            _check_choice(verb, override, folder or None)


def _parse_word(verb: str, words: Sequence[str], place: int) -> Override:
    word = words[place]
    following = words[place + 1 : place + 2]
    if "=" not in word and not word.startswith("~"):
        raise ValueError(_explain_no_assignment(verb, words, place))
    if word.endswith(",") and (word + "".join(following)).count("[") == word.count("]"):
        raise ValueError(_explain_comma(verb, word, *following))
    if re.fullmatch(r"[\w.]+=", word) and following and "=" not in following[0]:
        raise ValueError(f"{word} has no value; write {word}{following[0]}, without a space")
    if word.startswith("="):
        raise ValueError(f"{word!r} has no key; write KEY=VALUE without spaces")
    if (whole := _close_brackets(words[place:])) is not None:
        raise ValueError(f"{word} has a bracket that is not closed; write {shlex.quote(whole)}")
    try:
        return OverridesParser.create().parse_overrides([word])[0]
    except OverrideParseException as error:
        raise ValueError(explain_unreadable(word, str(error).splitlines()[0])) from error


def _explain_comma(verb: str, word: str, following: str = "") -> str:
    """Return the message for values that a shell split behind a comma."""
    key, _, value = word.partition("=")
    if not following or "=" in following:
        return f"{word} ends with a comma; write {quote(key, value.rstrip(','))}"
    if key in list_groups(verb):
        return f"{word} ends with a comma; for a job each write -m {word}{following}"
    return (
        f"{word} ends with a comma; for a list write {shlex.quote(f'{key}=[{value}{following}]')}"
    )


def _explain_no_assignment(verb: str, words: Sequence[str], place: int) -> str:
    """Return the message for a word without `=`."""
    word = words[place]
    if word in list_groups(verb) or word in list_root_keys(verb):
        rest = "".join(words[place + 1 : place + 3]) if words[place + 1 : place + 2] else ""
        if rest.startswith("="):  # blanks around it
            return f"{word} has no value; write {quote(word, rest[1:] or 'VALUE')}, without blanks"
        value = words[place + 1] if rest and "=" not in words[place + 1] else "VALUE"
        return f"{word} has no value; write {word}={value}"
    key, _, value = words[place - 1].partition("=") if place else ("", "", "")
    if "/" in value:  # a path with a blank
        return f"{word} is no KEY=VALUE; a blank is quoted: {quote(key, f'{value} {word}')}"
    for group in list_groups(verb):
        if word in list_choices(group):
            return f"{word} is no KEY=VALUE; write {group}={word}"
    for group in list_groups(verb):
        if found := find_nearest_name(word, list_choices(group)):
            return f"{word} is no KEY=VALUE; did you mean {group}={found}?"
    return f"{word} is no KEY=VALUE; dec2vec {verb} --help lists the keys"


def _close_brackets(words: Sequence[str]) -> str | None:
    """Return the value that a shell split, joined; None if its brackets are closed."""
    pairs = (("[", "]"), ("{", "}"), ("(", ")"))
    whole = ""
    for word in words:
        apart = whole and whole[-1] not in "[{(,:" and word[:1] not in "]}),:"
        whole += f",{word}" if apart else word
        bare = re.sub(r"\\.|'[^']*'|\"[^\"]*\"", "", whole)
        if all(bare.count(left) <= bare.count(right) for left, right in pairs):
            return None if whole == words[0] else whole
        if "=" in word and word is not words[0]:
            break
    closing = "".join(r * (words[0].count(left) - words[0].count(r)) for left, r in pairs)
    return words[0].rstrip(",") + closing


def _get_value(override: Override) -> str:
    if not override.is_sweep_override() and isinstance(override._value, QuotedString):
        return override._value.text
    return override.get_value_element_as_str() if override._value is not None else ""


def _check_choice(verb: str, override: Override, folder: str | None) -> None:
    """Refuse a name that a group does not have, several where one is taken, and `+group=`."""
    group, value = override.key_or_group, override._value
    if override.is_add():
        raise ValueError(f"+{group}= is not needed; write {quote(group, _get_value(override))}")
    valid = list_choices(group, config_dir=folder)
    if override.is_sweep_override():
        given = [] if isinstance(value, Glob) else [str(one) for one in override.sweep_iterator()]
    elif isinstance(value, list):
        if group not in OPTIONAL:
            names = ",".join(map(str, value))
            raise ValueError(
                f"{group}=[{names}] names several where one is taken; for a job each "
                f"write -m {group}={names}"
            )
        given = [str(one) for one in value]
    elif value is None and group not in OPTIONAL:
        names = ", ".join(valid)
        raise ValueError(f"{group}=null names none; write {group}=NAME, one of: {names}")
    else:
        given = [] if value is None else [_get_value(override)]
    for name in given:
        if name not in valid:
            raise ValueError(explain_unknown_choice(verb, group, name, valid, given))
    if group == "experiment":
        for name in given:
            own = find_experiment_verb(name) if name in list_choices(group) else verb
            if own not in (verb, None):
                raise ValueError(
                    f"experiment={name} is one of dec2vec {own}: dec2vec {own} experiment={name}"
                )
