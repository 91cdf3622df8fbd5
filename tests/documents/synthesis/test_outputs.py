"""What the encoder says of pairs, and the files that are written; the README's walk through."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from methods.data.readers import read_llama_index
from methods.documents.synthesis.outputs import write_outputs
from methods.documents.synthesis.pairs import Pair
from methods.documents.synthesis.retrieval import (
    Sides,
    filter_round_trip,
    find_ranks,
    make_corpus,
    mine_negatives,
)
from methods.documents.synthesis.rules import make_cloze_pairs, make_title_pairs
from methods.evaluation.own_tasks.beir import read_beir, take_llama_index
from methods.training.data import Data, DataSource, load
from tests.documents.synthesis.conftest import make_passage

README = Path(__file__).parents[3] / "methods" / "documents" / "synthesis" / "README.md"


class Letters:
    """An encoder whose vectors count letters: texts that share letters are alike."""

    class method:
        uses_instructions = False

    def encode(self, texts, *, prompt_type, instruction=None):
        assert instruction is None
        found = [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]
        return np.array(found, np.float32)


SIDES = Sides(Letters())


def test_a_question_that_does_not_find_its_passage_is_rejected():
    passages = [make_passage(id, text) for id, text in [("a", "aaab"), ("b", "bbba"), ("c", "ccc")]]
    pairs = [
        Pair("q1", "question", "aa", "aaab", "a", "plain"),
        Pair("q2", "question", "ab a", "bbba", "b", "how"),
        Pair("q3", "question", "ab", "ccc", "c", "why"),
    ]
    texts = {passage.id: passage.text for passage in passages}
    assert find_ranks(pairs, texts, SIDES) == [1, 2, 3]
    found, lost = filter_round_trip(pairs, passages, SIDES, top_k=2)
    assert [pair.id for pair in found] == ["q1", "q2"]
    assert [(one.group, one.reason) for one in lost] == [("why", "round trip failed")]


def test_negatives_are_near_but_below_the_positive_by_the_margin():
    pairs = [Pair("q", "question", "aaaa", "aaaab", "p1")]
    corpus = {"p1": "aaaab", "p2": "aaaaabb", "p3": "aab", "p4": "abb", "p5": "zzz"}
    near, far = (
        mine_negatives(pairs, corpus, SIDES, number=1, margin=margin)[0][0].negatives
        for margin in (0.03, 0.3)
    )
    assert near == ("aaaaabb",) and far == ("abb",)
    two, without = mine_negatives(pairs, corpus, SIDES, number=9, margin=0.03)
    assert without == 1 and two[0].negatives == ()


def test_training_and_evaluation_read_what_is_written(passages, tmp_path):
    titles, rejects = make_title_pairs(passages)
    cloze, _ = make_cloze_pairs(passages)
    mined, _ = mine_negatives(titles, make_corpus(titles, passages), SIDES, number=1, margin=0)
    mined[0] = titles[0]  # one that has none
    rows = write_outputs(tmp_path, [*mined, *cloze], rejects, passages)
    assert rows["title"] < len(titles) and rows["cloze"] == len(cloze)
    sources = {kind: DataSource(path=str(tmp_path / "train" / f"{kind}.jsonl")) for kind in rows}
    loaded = load(Data(sources=sources), texts_only=False, negatives=None, seed=0).rows
    assert loaded["cloze"]["query"] == [pair.query for pair in cloze]
    assert "negative_1" in loaded["title"].column_names
    for kind, pairs in (("title", titles), ("cloze", cloze)):
        folder = read_beir(tmp_path / "evaluate" / kind)
        file = tmp_path / "evaluate" / f"{kind}.json"
        assert take_llama_index(read_llama_index(file), file) == folder
        assert set(folder.corpus) == {"p1", "p2", "p3"}
        assert folder.judged["test"] == {pair.id: {pair.document: 1} for pair in pairs}
    assert folder.corpus["p1"] == ("", cloze[0].positive)  # without the sentence


def test_documents_that_are_alike_are_one_and_written_negatives_are_documents(tmp_path):
    pairs = [
        Pair("e1", "long_short", "a text", "joy", "e1", negatives=("grief",), instruction="Find"),
        Pair("e2", "long_short", "a second text", "joy", "e2", negatives=("fear",)),
    ]
    write_outputs(tmp_path, pairs, [])
    found = read_beir(tmp_path / "evaluate" / "long_short")
    assert sorted(text for _, text in found.corpus.values()) == ["fear", "grief", "joy"]
    assert found.judged["test"] == {"e1": {"e1": 1}, "e2": {"e1": 1}}
    (first, _) = (tmp_path / "train" / "long_short.jsonl").read_text().splitlines()
    assert json.loads(first)["instruction"] == "Find"


def test_the_readmes_walk_through_runs(monkeypatch, tmp_path):
    code = re.search(r"^```python\n(.+?)^```", README.read_text(), re.S | re.M)[1]
    code = code.replace('"smollm2_135m"', '"tiny"')
    code = code.replace('"sentence_encoder"', '"sentence_encoder", model="tiny", cache=None')
    code = code.replace("max_new_tokens=48", "max_new_tokens=4")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A kettle\n\nIt boils water.\n\n# A cup\n\nOf tea.")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code, found)
    assert len(found["answers"]) == 8
    rejects = (tmp_path / "pairs" / "rejects.jsonl").read_text().splitlines()
    assert len(rejects) + len(found["pairs"]) == 8


@pytest.mark.parametrize("kind", ["evaluate", "train"])
def test_an_earlier_runs_files_do_not_stay(kind, passages, tmp_path):
    titles, _ = make_title_pairs(passages)
    cloze, _ = make_cloze_pairs(passages)
    write_outputs(tmp_path, cloze, [], passages)
    write_outputs(tmp_path, titles, [], passages)
    assert not [file for file in (tmp_path / kind).rglob("*") if "cloze" in file.name]
