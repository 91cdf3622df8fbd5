"""Explain what is wrong with a command line, in a line or two.

Hydra's own errors are rephrased. Each message says what was got, what is valid and what was
probably meant.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from methods.config.names import (
    CONF,
    OPTIONAL,
    list_choices,
    list_groups,
    list_root_keys,
    quote_value,
    read_config_texts,
)
from methods.data.readers import KINDS
from methods.fields import find_nearest_name, nearest

MANY = 12  # names that are not listed where one of them was probably meant
AXES = ("pooling", "layer", "normalize", "post")
# Keys that one verb lacks -> what to write instead.
ELSEWHERE = {
    "evaluate": {
        "recipe": "dec2vec train recipe",
        "data": "dec2vec train data",
        "evaluate.names": "tasks.names",
        "names": "tasks.names",
        "benchmark": "tasks.benchmark",
        "evaluate.own": "tasks.own",
        "own": "tasks.own",
    },
    "train": {
        "tasks.names": "evaluate.names",
        "tasks.splits": "evaluate.splits",
        "tasks.subsets": "evaluate.subsets",
        "tasks.own": "evaluate.own",
        "tasks": "evaluate.names",
        "template": "method.template",
        "epochs": "recipe.epochs",
        "names": "evaluate.names",
    },
    "encode": {
        "input": "in",
        "output": "out",
        "text": "column",
        "workers": "-m worker",
        "prompt_type": "side",
    },
    "synthesize": {
        "input": "in",
        "output": "out",
        "generator.url": "generator.model",
        "tasks": "kinds",
    },
}
SOURCES = {"model.source.path": "model=folder", "model.source.id": "model=hub"}


def explain(error: BaseException, verb: str) -> str:
    """Return an error in a line or two, Hydra's and OmegaConf's rephrased."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return explain_unreadable(error.override, text.splitlines()[0])
    if isinstance(error, MissingConfigException):
        return _explain_missing(error, verb)
    if isinstance(error, ConfigCompositionException):
        return _explain_composition(error, text, verb)
    if isinstance(error, OmegaConfBaseException):
        key = f" ({error.full_key})" if error.full_key else ""
        return f"{(error.msg or text).splitlines()[0]}{key}"
    return text or type(error).__name__


def quote(key: str, value: str) -> str:
    """Return KEY=VALUE as it is pasted into a shell, quoted for Hydra and for the shell."""
    if not re.fullmatch(r"[\w./:@%+-]+|\[[\w./,-]*\]", value) or value.endswith("\\"):
        value = quote_value(value)
    return _quote_for_shell(f"{key}={value}")


def _quote_for_shell(word: str) -> str:
    if "'" in word and not re.search(r'["$`!]', word):  # easier on the eye than shlex's
        return '"' + word.replace("\\", "\\\\") + '"'
    return shlex.quote(word)


def explain_unreadable(word: str, reason: str) -> str:
    """Return what to say of a word that Hydra cannot parse."""
    key, _, value = word.partition("=")
    if value.startswith("="):
        return f"{word} has two =; write {quote(key, value.lstrip('='))}"
    if listed := re.fullmatch(r"\{([^:{}]*)\}", value):
        return f"{word} cannot be read; a list stands in brackets: '{key}=[{listed[1]}]'"
    if value[:1] in ("[", "{") and not re.search(r"['\"]", value):  # a path with ~, for instance
        parts = re.split(r"([\[\]{},]|:\s)", value)
        plain = re.compile(r"[\s\w./@%+-]*|[\[\]{},]|:\s")
        given = "".join(one if plain.fullmatch(one) else quote_value(one.strip()) for one in parts)
        if given != value:
            return f"{word} cannot be read; quote the value: {_quote_for_shell(f'{key}={given}')}"
    if re.search(r"[\['{(\\\"=, :]", value):
        return f"{word} cannot be read; quote the value: {quote(key, value)}"
    return f"{word} cannot be read ({reason}); write KEY=VALUE"


def explain_unknown_key(verb: str, key: str, value: str) -> str:
    """Return what to say of a key that a verb does not have."""
    other = ELSEWHERE.get(verb, {})
    root = re.split(r"[./@:]", key)[0]
    found = other.get(key)
    if found is None and other.get(root, "").startswith("dec2vec "):
        found = other[root] + key.removeprefix(root)
    problem = f"{key} is no key of dec2vec {verb}"
    if found == "evaluate.names" and not value.startswith("["):
        return f"{problem}; write evaluate.names=[{value}]"
    if found:
        return f"{problem}; write {quote_words(found, value)}"
    if source := SOURCES.get(key):
        return f"{key} belongs to another model; write {source} {quote_words(key, value)}"
    if root not in list_root_keys(verb):
        for elsewhere in ELSEWHERE:
            if root in list_root_keys(elsewhere):
                return f"{problem}, but of dec2vec {elsewhere}; dec2vec {verb} --help lists its own"
    known = list(iterate_keys(verb))
    tail = key.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == tail]
    beside = [one for one in known if one.startswith(f"{root}.")]
    found = find_nearest_name(key, beside) or (same[0] if same else None)
    elsewhere = root == key or root not in list_root_keys(verb)  # else its section lacks it
    found = found or (find_nearest_name(key, known) if elsewhere else None)
    if found is None and elsewhere:
        tails = {one.rpartition(".")[2]: one for one in reversed(known)}
        found = tails.get(find_nearest_name(tail, tails) or "")
    hint = f"; did you mean {quote_words(found, value)}?" if found else ""
    return f"{problem}{hint or f'; dec2vec {verb} --help lists them'}"


def quote_words(start: str, value: str) -> str:
    """Return the last word of `start` with a value, quoted; what stands before it as it is."""
    *before, key = start.split(" ")
    return " ".join([*before, quote(key, value or "VALUE")])


def iterate_keys(verb: str) -> Iterable[str]:
    """Yield every key of a verb's config and of its default groups, dotted."""
    import yaml

    def walk(prefix: str, part: Any) -> Iterable[str]:
        for name, value in part.items():
            key = f"{prefix}.{name}" if prefix else str(name)
            yield key
            if isinstance(value, dict):
                yield from walk(key, value)

    for text in read_config_texts(verb):
        own = yaml.safe_load(text)
        yield from walk("", {k: v for k, v in own.items() if k not in ("defaults", "hydra")})
    for group, name in list_groups(verb).items():
        yield group
        if group not in OPTIONAL:
            for file in (CONF / group).glob("*.yaml" if name == "???" else f"{name}.yaml"):
                part = yaml.safe_load(file.read_text(encoding="utf-8"))
                names = [k for k in part if k not in ("_target_", "defaults")]
                yield from (f"{group}.{name}" for name in names if group != "recipe")


def explain_unknown_choice(
    verb: str, group: str, name: str, valid: Sequence[str], given: Sequence[str] = ()
) -> str:
    """Return what to say of a name that a group does not have."""
    problem = f"{group}={name}: there is no {group} of that name"
    if not name:
        return f"{group}= has no value; valid: {', '.join(valid)}"
    if group == "model" and (meant := _suggest_model(name)):
        return f"{problem}; write {meant}"
    if group == "data" and ("/" in name or "." in name):
        return f"{problem}; for a file write data=file {quote('data.sources.mine.path', name)}"
    if group == "tasks":
        names = ",".join(given or [name])
        if "/" in name or Path(name).suffix.lower().lstrip(".") in KINDS or Path(name).exists():
            return f"{problem}; for data of your own write {quote('tasks.own', f'[{name}]')}"
        close = nearest(name, valid).replace("mean ", "mean tasks=")
        return (
            f"tasks={name}: no list of tasks has that name; for tasks by name write "
            f"tasks.names=[{names}]. Valid: {', '.join(valid)}{close}"
        )
    message = f"{problem}; valid: {', '.join(valid)}"
    if len(valid) > MANY and find_nearest_name(name, valid):
        message = f"{problem}; dec2vec {verb} --help lists all {len(valid)}"
    if group == "model":
        message += f"; or any of the Hub: model=hub {quote('model.source.id', name)}"
    if found := find_nearest_name(name, valid):
        message += f"; did you mean {group}={found}?"
    for other in list_groups(verb):
        if other != group and name in list_choices(other):
            return f"{message} Or {other}={name}?" if found else f"{message}; or {other}={name}?"
    return message


def _suggest_model(name: str) -> str | None:
    """Return the overrides that choose a folder, a GGUF file or a model of the Hub."""
    path = Path(name).expanduser()
    if name.endswith(".gguf"):
        return f"model=gguf {quote('model.source.path', name)}"
    if name.startswith(("/", ".", "~")) or path.is_dir():
        return f"model=folder {quote('model.source.path', name)}"
    return f"model=hub {quote('model.source.id', name)}" if name.count("/") == 1 else None


def _explain_missing(error: MissingConfigException, verb: str) -> str:
    """Return the message for a config file that does not exist."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if error.options and group:
        return explain_unknown_choice(verb, group, name, error.options)
    return str(error).splitlines()[0]


def _explain_composition(error: Exception, text: str, verb: str) -> str:
    """Return Hydra's message for a config that cannot be composed, rephrased."""
    first = text.splitlines()[0]
    if found := re.match(r"You must specify '(\w+)'", text):
        names = list_choices(found[1])
        return f"no {found[1]} is given; write {found[1]}=NAME, one of: {', '.join(names)}"
    if found := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'$", first):
        key, value = found.groups()
        if key in AXES:
            return f"{key}={value}: several values that share a pass are a list: {key}=[{value}]"
        message = f"{key}={value}: for a job each write -m {key}={value}"
        if key not in list_groups(verb):
            message += f"; for a list write {shlex.quote(f'{key}=[{value}]')}"
        return message
    if found := re.match(r"Sweep parameters '(.+)' requires --multirun", first):
        return f"{found[1]} is a sweep; write dec2vec {verb} -m {shlex.quote(found[1])}"
    if found := re.match(r"Could not (?:override|append value to) '?\+*([^'\s=]+)", first):
        key = found[1].rstrip(".")
        inner = re.search(r"full_key: (\S+)", str(error.__cause__ or ""))
        if inner and inner[1].startswith(f"{key}."):  # of a mapping that was given as one value
            return f"{key} has no {inner[1].removeprefix(f'{key}.')}"
        return explain_unknown_key(verb, key, "")
    if found := re.match(r"Could not delete from config.*'([^']+)'", first):
        return explain_unknown_key(verb, found[1], "").replace("=VALUE?", "?")
    if found := re.match(r"Could not append to config. An item is already at '([^']+)'", first):
        return f"+{found[1]} is there already; write {found[1]}=VALUE, without +"
    cause = str(error.__cause__ or "").splitlines()[:1]
    return "; ".join(dict.fromkeys([first, *cause]))
