"""`dec2vec ask`: what it reads from the command line and from a pipe, and what it prints."""

import io
import re
import sys

import pytest

from methods.cli import ask
from methods.cli.ask_text import format_answer, format_found, format_passage
from methods.documents.answer import Answer, answer, check_generates, write_prompt
from methods.documents.passage import Passage
from methods.documents.search import Found, Hit
from tests.backbone.test_verify import saved

MODEL = ["method=sgpt", "model=tiny", "dtype=float32", "cache=null", "index=index"]
HIT = Hit(1, 0.61, Passage("x", "Boil it.\n\n  six\tminutes", "a.md", ("Eggs", "Soft"), 0, 9))


@pytest.fixture
def docs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "kitchen.md").write_text("# Eggs\nBoil an egg. Six minutes will do.\n")
    (tmp_path / "docs" / "garden.txt").write_text("Prune apple trees in winter, not in summer.")
    (tmp_path / "docs" / "bad.txt").write_bytes(b"\0")
    (tmp_path / "docs" / "photo.png").write_bytes(b"\0")
    return tmp_path / "docs"


def run(*words, capsys, monkeypatch, stdin=""):
    """Run the verb in this process; return what it prints."""
    monkeypatch.setattr(sys, "argv", ["dec2vec ask", *words])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
    ask.main()
    return capsys.readouterr().out


def test_questions_come_from_the_command_line_or_a_pipe(docs, capsys, monkeypatch):
    how = {"capsys": capsys, "monkeypatch": monkeypatch}
    first = run("docs", *MODEL, "threshold=-1", "--question", "how long?", **how)
    assert first.startswith("2 passages of 2 files: 3 new; 2 passages encoded; ")
    assert "\nskipped: bad.txt: binary: it has zero bytes\n" in first
    assert "\nnot looked at: 1 files of other suffixes (.png)\n" in first
    assert "\nrelevant from a score of " in first
    assert re.search(r"^\[1\] 0\.\d{3}  \S+", first, re.M) and "\n[2] 0." in first
    assert "kitchen.md > Eggs\n    Boil an egg. Six minutes will do.\n" in first
    piped = run("docs", *MODEL, "threshold=1", "top=1", stdin="one?\n\n  two? \n", **how)
    assert "2 files: nothing has changed; 0 passages encoded" in piped
    assert "\n? one?\n" in piped and "\n? two?\n" in piped
    assert piped.count("Nothing relevant was found: the nearest passage scores 0.") == 2
    (docs / "garden.txt").write_text("Another text.")
    changed = run("docs", *MODEL, "--question", "how long?", **how)
    assert "1 changed; 1 passages encoded" in changed


def test_an_answer_comes_after_the_passages(docs, capsys, monkeypatch):
    how = {"capsys": capsys, "monkeypatch": monkeypatch}
    words = ["docs", *MODEL, "threshold=-1", "max_new_tokens=3", "--answer", "--question", "one?"]
    shown = run(*words, **how)
    assert shown.index("[1] 0.") < shown.index("\nAnswer:\n") < shown.index("(written by ")
    assert "it cites none of [1], [2]; check it" in " ".join(shown.split())
    shown = run(*words, "top=1", **how)
    assert "none of [1]; check it" in " ".join(shown.split())
    nothing = run(*[w for w in words if w != "threshold=-1"], "threshold=1", **how)
    assert "Nothing relevant was found" in nothing and "Answer:" not in nothing


def test_the_default_index_is_in_the_cache_and_is_another_for_another_encoder(
    docs, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("DEC2VEC_CACHE", str(tmp_path / "cache"))
    how = {"capsys": capsys, "monkeypatch": monkeypatch}
    words = ["docs", *MODEL[:-1], "--question", "one?"]
    for more in ([], ["pooling=mean"], ["include=*.md"]):
        assert "2 passages encoded" in (shown := run(*words, *more, **how)) or more
        assert f"index: {tmp_path / 'cache' / 'indexes' / 'docs-'}" in shown
    assert len(list((tmp_path / "cache" / "indexes").iterdir())) == 3


def test_another_encoders_index_is_refused_and_built_anew_when_asked(docs, capsys, monkeypatch):
    how = {"capsys": capsys, "monkeypatch": monkeypatch}
    words = ["docs", *MODEL, "--question", "one?"]
    run(*words, **how)
    with pytest.raises(SystemExit, match=r"was made with encoder=sgpt on \S+ .*--rebuild"):
        run(*words, "pooling=mean", **how)
    assert "2 passages encoded" in run(*words, "pooling=mean", "--rebuild", **how)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no documents are given: dec2vec ask DOCS"),
        (["nowhere"], "nowhere is neither a folder nor a file; DOCS comes first"),
        (["docs", "how", "long"], "'how' is no key=value; a question is one word, in quotes"),
        (["docs", "top=0"], "top=0; it is a whole number, 1 or more"),
        (["docs", "top=1", "top=2"], "top is given twice"),
        (["docs", "threshold=high"], "threshold=high; it is a cosine, between -1 and 1"),
        (["docs", "include="], "include is empty; give include=VALUE"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(docs, words, message):
    with pytest.raises(ValueError, match=message):
        ask.parse(words)


def test_keys_are_the_verbs_or_the_encoders(docs):
    request = ask.parse(["docs", "layer=8", "top=5", "index=a", "--question", "b", "max_mib=1"])
    assert request.encoder == {"layer": 8, "method": "sentence_encoder"}
    assert (request.numbers["top"], request.index, request.questions) == (5, "a", ["b"])
    assert ask.parse(["docs", "adapter=DIR"]).encoder == {"adapter": "DIR"}


def test_an_empty_folder_ends_with_its_reason(tmp_path, capsys, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"empty holds no document with a passage"):
        run("empty", *MODEL, "--question", "one?", capsys=capsys, monkeypatch=monkeypatch)


def test_an_encoder_without_a_head_says_what_to_choose(tmp_path):
    from transformers import AutoModel

    from methods import load_encoder

    saved(tmp_path, "bert", kind=AutoModel)
    encoder = load_encoder("sentence_encoder", model=str(tmp_path), dtype="float32", cache=None)
    message = "has no language-model head and cannot write an answer .*; choose a decoder"
    with pytest.raises(ValueError, match=message):
        check_generates(encoder)
    with pytest.raises(ValueError, match=message):
        answer(encoder, "one?", [HIT])


def test_an_answer_is_written_from_the_passages_that_fit(encoder, monkeypatch):
    from methods.backbone import generation

    found = encoder("sgpt")
    hits = [Hit(number, 0.5, Passage("x", "word " * 400, "a", (), 0, 1)) for number in (1, 2, 3)]
    monkeypatch.setattr(generation, "generate_ids", lambda backbone, prompts, **_: [[]])
    assert answer(found, "one?", hits).given == [1]  # 4096 positions of bytes
    with pytest.raises(ValueError, match="there is no passage to answer from"):
        answer(found, "one?", [])
    written = found.backbone.tokenizer("By [1] and [7].", add_special_tokens=False).input_ids
    monkeypatch.setattr(generation, "generate_ids", lambda backbone, prompts, **_: [written])
    one = answer(found, "one?", [HIT])
    assert (one.text, one.cited, one.unknown) == ("By [1] and [7].", [1], [7])
    prompt = write_prompt("How long?", [HIT])
    assert prompt.startswith("Passages:\n\n[1] a.md > Eggs > Soft\nBoil it.")
    assert prompt.endswith("Question: How long?\nAnswer:")


def test_passages_are_wrapped_and_control_codes_are_not_printed():
    assert format_passage("a\x1b[31mb\n    code\n" + "word " * 40)[:2] == [
        "    a [31mb",
        "        code",
    ]
    assert max(map(len, format_passage("word " * 40))) <= 100
    shown = "\n".join(format_found(Found("How?", [HIT], 0.5), 0.1))
    assert "[1] 0.610  a.md > Eggs > Soft\n    Boil it.\n\n      six   minutes" in shown
    shown = " ".join(format_answer(Answer("By [1], [7].", [1, 2], [1], [7]), "m", 1.0))
    assert "it cites [1], and [7] that it was not given" in shown
