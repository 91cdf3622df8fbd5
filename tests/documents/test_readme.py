"""The commands and the code of the README run, on the tiny model."""

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from methods.cli import ask

README = Path(__file__).parents[2] / "methods" / "documents" / "README.md"
TINY = ["method=sgpt", "model=tiny", "dtype=float32", "cache=null", "max_new_tokens=4"]


def find_block(language, place=0):
    return re.findall(rf"^```{language}\n(.+?)^```", README.read_text(), re.S | re.M)[place]


@pytest.fixture(autouse=True)
def docs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEC2VEC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "eggs.md").write_text("# Eggs\nBoil an egg for six minutes.\n")


def test_the_readmes_commands_run(monkeypatch, capsys):
    commands = [shlex.split(line, comments=True) for line in find_block("bash").splitlines()]
    assert [command[:3] for command in commands] == [["dec2vec", "ask", "docs"]] * 3
    for command in commands:
        words = [word for word in command[2:] if not word.startswith(("method=", "model="))]
        monkeypatch.setattr(sys, "argv", ["dec2vec ask", *words, *TINY, "threshold=-1"])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"how long?\n")))
        ask.main()
        shown = capsys.readouterr().out
        assert "eggs.md > Eggs\n    Boil an egg for six minutes." in shown
        assert ("\nAnswer:\n" in shown) == ("--answer" in command)


def test_the_readmes_code_runs(capsys):
    code = find_block("python")
    loaded = 'load_encoder("echo", model="smollm2_135m")'
    assert loaded in code
    tiny = 'load_encoder("sgpt", model="tiny", dtype="float32", cache=None)'
    exec(code.replace(loaded, tiny), {})
    assert capsys.readouterr().out.startswith("1 []")
