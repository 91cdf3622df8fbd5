"""`dec2vec synthesize` as a user runs it, in processes of its own."""

import json
import signal
import time

import pytest

from tests.cli.test_evaluate import dec2vec, started
from tests.documents.synthesis.test_endpoint import answer, serve

NAMES = "kettle bicycle bread river castle garden letter winter music engine".split()
TEXT = (
    "The {0} of our village is older than the {1}, and it was made by hand from wood and stone. "
    "Every year many people come to see the {0} and to buy a picture of it for their walls.\n\n"
)
BASE = ["synthesize", "in=docs", "model=tiny", "model.dtype=float32", "cache.folder=null"]
TINY = ["generator.model=tiny", "generator.dtype=float32", "generator.max_new_tokens=8"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in NAMES:
        parts = [f"# About the {name}\n\n{TEXT.format(name, NAMES[0])}"]
        parts += [f"## {name} and {other}\n\n{TEXT.format(name, other)}" for other in NAMES[:3]]
        (tmp_path / "docs" / f"{name}.md").write_text("\n".join(parts))
    return tmp_path


def read_answers(out):
    lines = (out / "answers.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def read_files(out):
    made = sorted([*out.glob("*.jsonl"), *out.glob("train/*"), *out.glob("evaluate/**/*")])
    return {str(f.relative_to(out)): f.read_bytes() for f in made
            if f.is_file() and f.name != "answers.jsonl"}  # fmt: skip


def test_pairs_by_rule_are_trained_on_and_scored(folder):
    code, output = dec2vec(*BASE, "out=pairs", "margin=0", cwd=folder)
    assert code == 0, output
    assert "title: 40 of 40 sections are usable" in output, output
    record = json.loads((folder / "pairs" / "record.json").read_text())
    assert record["pairs"]["title"] == 40 and record["training_rows"]["title"] > 0
    assert record["command"].startswith("dec2vec synthesize in=docs model=tiny")
    data = ["data=file", "data.sources.mine.path=pairs/train/title.jsonl", "recipe=demo"]
    words = ["train", "method=sgpt", "model=tiny", "model.dtype=float32", *data]
    code, output = dec2vec(
        *words, "recipe.steps=2", "recipe.batch_size=4", "evaluate.names=[]", cwd=folder
    )
    assert code == 0, output
    own = "tasks.own=[pairs/evaluate/title,pairs/evaluate/cloze.json]"
    code, output = dec2vec("evaluate", "method=sgpt", "model=tiny", own, cwd=folder)
    assert code == 0 and "title-own-" in output and "cloze-own-" in output, output


def test_a_run_that_is_killed_loses_and_doubles_nothing(folder):
    words = [*BASE, *TINY, "kinds=[question,cloze]", "negatives=0", "generator.temperature=1"]
    code, output = dec2vec(*words, "out=whole", cwd=folder)
    assert code == 0, output
    killed = started(*words, "out=killed", cwd=folder)
    file = folder / "killed" / "answers.jsonl"
    while not (file.is_file() and file.stat().st_size) and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    number = len(file.read_bytes().splitlines())
    with file.open("ab") as stream:  # as if it had been killed while it was writing
        stream.write(b'{"id": "question/what/')
    code, output = dec2vec(*words, "out=killed", cwd=folder)
    assert code == 0 and "prompts are answered" in output, (number, output)
    assert read_answers(folder / "killed") == read_answers(folder / "whole")
    assert read_files(folder / "killed") == read_files(folder / "whole")
    assert 0 < number < len(read_answers(folder / "whole"))


def test_an_endpoint_writes_questions_that_are_checked(folder, monkeypatch):
    def respond(number, body, headers):
        words = body["messages"][0]["content"].split()
        return answer(f" Who made the {words[1]} of the old village by hand?\nBecause.")

    with serve(respond) as (url, bodies):
        words = ["passages=6", f"generator.model={url}", "generator.name=m", "prompts=[plain]"]
        code, output = dec2vec(
            *BASE, *words, "kinds=[question]", "top_k=1000", "out=asked", cwd=folder
        )
    assert code == 0 and len(bodies) == 6, output
    record = json.loads((folder / "asked" / "record.json").read_text())
    assert record["generated"]["tokens"] == 12 and record["generated"]["failed"] == 0
    counts = record["yield"]["plain"]
    assert counts["of"] == 6 == counts["usable"] + sum(counts["rejects"].values())
    assert set(counts["rejects"]) <= {"duplicate"} and counts["usable"] >= 1
    rows = (folder / "asked" / "pairs.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["query"].startswith("Who made the ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in=null"], "nothing to make pairs from; give documents, in=DIR, or a language model"),
        (["in=nowhere"], "nowhere is neither a folder nor a file"),
        (["kinds=[question]"], "question cannot be made here; it needs generator.model=NAME"),
        (["kinds=[sts]"], "sts cannot be made here; it is made without in=DIR"),
        (["kinds=[titel]"], "'titel' is unknown; valid: title, cloze"),
        (["kinds=title"], "kinds 'title' is one value where a list is meant"),
        (["in=null", "kinds=[title]", *TINY], "title cannot be made here; it needs in=DIR"),
        (["in=null", "languages=[English]", *TINY], "bitext needs two languages"),
        (["generator.model=http://127.0.0.1:9/v1"], "give its model's name: generator.name=NAME"),
        (["generator.model=tiny", "generator.name=x"], "generator.name=x is the model of an endp"),
        (["generator.model=tinny"], "model 'tinny' is unknown; valid: "),
        (["generator.url=x"], "generator.url is no key of dec2vec synthesize; write generator.mo"),
        (["passages=0"], "passages is 0; it is a number of them, 1 or more"),
        (["pooling=[mean,last]"], "take one value each"),
        (["out=docs"], "docs holds other files (bicycle.md, bread.md, castle.md); give an empty"),
    ],
)
def test_what_cannot_be_made_ends_in_a_message(words, message, folder):
    given = ["out=o"] if not any(word.startswith("out=") for word in words) else []
    keys = {word.partition("=")[0] for word in words}
    base = [word for word in BASE if word.partition("=")[0] not in keys]
    code, output = dec2vec(*base, *given, *words, cwd=folder)
    assert code == 1 and message in output and "Traceback" not in output, output
