"""Answers on disk: none twice, none lost, and no folder of another generator."""

import json

import pytest

from methods.documents.synthesis.generators import LocalGenerator, Prompt
from methods.documents.synthesis.journal import Journal
from tests.documents.synthesis.conftest import Scripted

PROMPTS = [Prompt(f"p/{n}", f"prompt {n}") for n in range(10)]


def test_what_is_answered_is_not_asked_for_again(tmp_path):
    first, second = Scripted(lambda p: f"re: {p.text}"), Scripted(lambda p: "another")
    journal = Journal(tmp_path)
    journal.complete(PROMPTS[:4], first, title="test")
    found = journal.complete(PROMPTS[2:6], second, title="test")
    assert second.asked == ["p/4", "p/5"]
    assert [one.text for one in found.values()] == ["re: prompt 2", "re: prompt 3"] + [
        "another"
    ] * 2
    assert len(journal.file.read_text().splitlines()) == 6


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_not_finished_is_asked_for_again(cut, tmp_path):
    journal = Journal(tmp_path)
    whole = journal.complete(PROMPTS, Scripted(lambda p: f"re: é {p.text}"), title="test")
    content = journal.file.read_bytes()
    journal.file.write_bytes(content[:-cut])
    again = Scripted(lambda p: f"re: é {p.text}")
    assert journal.complete(PROMPTS, again, title="test") == whole
    assert again.asked == ["p/9"] and journal.file.read_bytes() == content


def test_a_line_that_is_no_answer_is_named(tmp_path):
    (tmp_path / "answers.jsonl").write_text('{"id": "a", "text": "b"}\n{"id": 3}\n')
    with pytest.raises(ValueError, match="answers.jsonl, line 2 is no answer .*; remove the line"):
        Journal(tmp_path).read()


def test_a_folder_belongs_to_one_generator_and_one_process(tmp_path):
    journal = Journal(tmp_path / "out")
    with journal.lock():
        journal.open({"generator": {"model": "a"}, "settings": {"languages": ("x",)}})
        with pytest.raises(ValueError, match="another process is writing"), journal.lock():
            pass
    journal.open({"generator": {"model": "a"}, "settings": {"languages": ("x",)}})
    with pytest.raises(ValueError, match='begun with another generator .*"a".*"b".*another out='):
        journal.open({"generator": {"model": "b"}, "settings": {"languages": ("x",)}})
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="holds other files .mine.txt, out.; give an empty"):
        Journal(tmp_path).open({})


def test_a_local_model_that_is_stopped_writes_what_it_would_have_written(encoder, tmp_path):
    backbone = encoder("sgpt").backbone
    settings = {"max_new_tokens": 6, "temperature": 1.0, "seed": 5, "group": 4}
    generator = LocalGenerator(backbone, **settings)
    whole = {a.id: a.text for answers in generator.write(PROMPTS) for a in answers}
    assert list(whole) == [prompt.id for prompt in PROMPTS] and len(set(whole.values())) > 5
    done = set(list(whole)[:6])  # stopped in a group: the group is generated anew
    rest = {a.id: a.text for answers in generator.write(PROMPTS, done) for a in answers}
    assert rest == {id: text for id, text in whole.items() if id not in done}
    other = LocalGenerator(backbone, **{**settings, "seed": 6})
    assert {a.id: a.text for answers in other.write(PROMPTS) for a in answers} != whole


def test_a_local_model_names_a_prompt_that_is_too_long_and_answers_the_others(encoder):
    backbone = encoder("sgpt").backbone
    prompts = [Prompt("long", "x" * 4096), Prompt("short", "x", "Why")]
    generator = LocalGenerator(backbone, max_new_tokens=4)
    ((long, short),) = generator.write(prompts)
    assert long.error == "the prompt's 4096 tokens leave no room for 4 more"
    assert short.error is None and short.text.startswith("Why") and short.tokens
    assert json.loads(json.dumps(short.to_json()))["prompt_tokens"] == short.prompt_tokens
