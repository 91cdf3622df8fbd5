"""Write what `dec2vec --help`, `dec2vec VERB --help` and `dec2vec --version` print.

A verb's page is made of the comments in conf/VERB.yaml and conf/base.yaml, which are read as text:
a heading is a line `## ...`, the leading comment holds the sentence and the examples. Nothing heavy
is imported.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from methods.config.names import CONF, list_choices, list_groups, read_config_texts

WIDTH = 110
KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w./]+):(?: +(?P<value>.*?))??(?: +# (?P<about>.*))?$")
SWEEPS = """Sweeps, and where jobs run
  -m key=a,b              a job for every combination of values; key='glob(*)': all names
  hydra/launcher=NAME     with -m: {launchers}
  hydra/sweeper=search    with -m: let Optuna choose
  --config-dir DIR        methods of your own: DIR/method/NAME.yaml and modules in DIR; poolings of
                          your own: functions in DIR/pooling.py
  --cfg job               print the config that a command composes, and stop

A value with a comma, a bracket, a quote, a space or = is quoted twice: "mirror='my folder'".
"""


def describe_verbs(verbs: Mapping[str, str]) -> str:
    """Return what `dec2vec --help` prints: the verbs, one line each."""
    lines = ["dec2vec: text embeddings from decoder-only language models", ""]
    lines += [f"  dec2vec {name:10} {about}" for name, about in verbs.items()]
    first = (CONF / "evaluate.yaml").read_text(encoding="utf-8").splitlines()[1]
    return "\n".join([*lines, "", "dec2vec VERB --help explains a verb. For instance:", first[1:]])


def describe_version() -> str:
    """Return the package's version and the commit of this code."""
    try:
        found = version("dec2vec")
    except PackageNotFoundError:  # run from a folder that was never installed
        text = (CONF.parent / "pyproject.toml").read_text(encoding="utf-8")
        found = re.search(r'^version = "(.+)"', text, re.MULTILINE)[1]  # pyright: ignore
    commit = _run_git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return f"dec2vec {found} (commit unknown: {CONF.parent} is no git repository)"
    changed = (
        ", with changes that are not committed" if _run_git("status", "--porcelain", "-uno") else ""
    )
    return f"dec2vec {found} (commit {commit}{changed})"


def _run_git(*words: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def has_config(verb: str) -> bool:
    """Return whether a verb is configured by conf/VERB.yaml."""
    return (CONF / f"{verb}.yaml").is_file()


def describe_verb(verb: str, about: str) -> str:
    """Return what `dec2vec VERB --help` prints."""
    parts_of_config = [_select_body(text) for text in read_config_texts(verb)]
    header = read_config_texts(verb)[0].split("\ndefaults:\n")[0].splitlines()
    examples = [line[1:].rstrip() for line in header if line.startswith("#   ")]
    comments = dict(comment for lines in parts_of_config for comment in _find_group_comments(lines))
    launchers = ", ".join(list_choices("hydra/launcher"))
    parts = [
        f"dec2vec {verb} KEY=VALUE ...: {about}",
        "Examples\n" + "\n".join(examples),
        "What is chosen by name (a file in conf/)\n" + "\n".join(_describe_groups(verb, comments)),
        *_describe_sections(parts_of_config),
        SWEEPS.format(launchers=launchers),
    ]
    return "\n\n".join(parts).rstrip()


def _select_body(text: str) -> list[str]:
    """Return the lines of a config from its defaults list to Hydra's own settings."""
    lines = text.split("\nhydra:\n")[0].splitlines()
    return lines[lines.index("defaults:") :]


def _find_group_comments(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if named := re.match(r"  - (\w+): \S+ +# (.*)", line):
            yield named[1], named[2]


def _describe_groups(verb: str, comments: Mapping[str, str]) -> Iterator[str]:
    for group, default in list_groups(verb).items():
        given = {"???": " (to be given)", "null": ""}.get(default, f" [{default}]")
        names = list_choices(group)
        if group == "experiment":
            names = [name for name in names if find_experiment_verb(name) == verb]
        yield f"  {group}=NAME{given}  {comments.get(group, '')}".rstrip()
        yield textwrap.fill(
            ", ".join(names),
            WIDTH,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
            break_on_hyphens=False,
        )


def find_experiment_verb(name: str) -> str | None:
    """Return the verb of a committed experiment, which its comment names."""
    file = CONF / "experiment" / f"{name}.yaml"
    found = re.search(r"^# dec2vec (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else None


def _describe_sections(configs: Iterable[list[str]]) -> Iterator[str]:
    """Yield the parts under `## ` headings: notes, and a line for each key with its default.

    What the first config says of a key is what holds.
    """
    described: set[str] = set()
    for lines in configs:
        yield from _describe_config(lines, described)


def _describe_config(lines: list[str], described: set[str]) -> Iterator[str]:
    part: list[str] = []
    above: list[tuple[int, str]] = []
    for line in lines:
        if line.startswith("## "):
            if part:
                yield "\n".join(part)
            part, above = [line[3:]], []
        elif part and line.startswith("#   "):
            part.append(line[2:])
        elif part and line.startswith("# "):
            part.append(f"  ({line[2:].rstrip('.')}.)")
        elif part and (found := KEY.match(line)):
            indent = len(found["indent"])
            above = [*(one for one in above if one[0] < indent), (indent, found["key"])]
            name = ".".join(key for _, key in above)
            value = re.sub(r"\$\{method\.\w+\}", "the method's", found["value"] or "")
            about = f"  {found['about']}" if found["about"] else ""
            given = f"{name}={value}" if value else f"{name}.*"
            if (value or about) and name not in described:
                described.add(name)
                part.append(f"  {given:38}{about}".rstrip())
    if part:
        yield "\n".join(part)
