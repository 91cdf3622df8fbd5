"""Training pairs hold no held-out text, and no question stands above what answers it."""

import json

import pytest

from methods.documents.synthesis.pairs import normalize
from methods.documents.tuning.pairs import make_pairs
from methods.documents.tuning.questions import ask_headings, read_questions, select_heldout
from methods.documents.tuning.sets import list_hidden, make_sets
from methods.documents.tuning.settings import DocumentsSettings, build_settings
from methods.documents.tuning.split import split_passages

KINDS = ("titles", "cloze")


@pytest.fixture
def split(passages):
    return split_passages(passages, heldout=0.25)


def list_texts(pairs):
    return [(pair.query, pair.positive) for own in pairs.rows.values() for pair in own]


def test_no_pair_and_no_validation_question_is_of_a_heldout_passage(split):
    pairs = make_pairs(split, kinds=KINDS, validation=0.3)
    own = {passage.id for passage in split.training}
    assert {pair.document for rows in pairs.rows.values() for pair in rows} <= own
    assert set(pairs.validation.corpus) <= own and len(pairs.validation.queries) > 3
    asked = {id for answers in pairs.validation.relevant.values() for id in answers}
    trained = {pair.document for rows in pairs.rows.values() for pair in rows}
    assert asked and not asked & trained  # what is validated on is not trained on
    names = {passage.file.removesuffix(".md") for passage in split.heldout}
    for text in list_texts(pairs):
        assert not any(f" {name}" in " ".join(text) for name in names)


def test_text_of_heldout_documents_is_trained_on_if_asked_for_without_their_questions(split):
    hidden = {normalize(h) for p in [*split.training, *split.heldout] for h in p.section}
    pairs = make_pairs(split, kinds=KINDS, cloze_from="all", hidden=hidden)
    held = {passage.id: passage for passage in split.heldout}
    cloze = [pair for pair in pairs.rows["cloze"] if pair.document in held]
    assert len(cloze) > 3 and not [p for p in pairs.rows["titles"] if p.document in held]
    for pair in cloze:
        assert held[pair.document].section[-1] not in pair.positive + pair.query
        assert pair.query in held[pair.document].text and pair.query not in pair.positive


def test_a_file_of_pairs_is_trained_on_but_for_heldout_text(split, tmp_path):
    file = tmp_path / "other.jsonl"
    rows = [
        {"query": f"what is {n}?", "positive": f"a number {n} of its own kind"} for n in range(20)
    ]
    rows += [{"query": "x?", "positive": passage.text} for passage in split.heldout[:2]]
    file.write_text("\n".join(map(json.dumps, rows)))
    pairs = make_pairs(split, kinds=["cloze"], files=[str(file)])
    assert pairs.left_out == {"cloze": 0, "other": 2}
    aside = [id for id in pairs.validation.queries if id.startswith("other/")]
    assert len(pairs.rows["other"]) + len(aside) == 20 and len(pairs.rows["other"]) > 10
    file.write_text('{"query": "a"}')
    with pytest.raises(ValueError, match="other.jsonl, line 1 has no query and positive"):
        make_pairs(split, kinds=["cloze"], files=[str(file)])


def test_questions_do_not_stand_above_what_is_searched_or_trained_on(passages):
    split = split_passages(passages, heldout=0.5)
    settings = DocumentsSettings(docs="docs", questions="headings")
    hidden = list_hidden(settings, passages)
    human, cloze = make_sets(settings, passages, split, hidden)
    assert (human.name, cloze.name) == ("human", "cloze") and len(human.queries) == 18
    assert len(human.corpus) == len(passages)
    for id, question in human.queries.items():
        answers = [human.corpus[one] for one in human.relevant[id]]
        assert answers and all(question not in text for text in answers)
    assert any(text != human.corpus[id] for id, text in cloze.corpus.items())
    for id, sentence in cloze.queries.items():
        assert all(sentence not in cloze.corpus[one] for one in cloze.relevant[id])


def test_a_question_that_training_documents_answer_too_is_not_scored(passages, split):
    asked = ask_headings(passages)
    one = next(iter(asked.values()))
    both = {"q": ("both?", [split.heldout[0].id, split.training[0].id]), "one": one}
    held = {passage.id for passage in split.heldout}
    assert set(select_heldout(both, held)) <= {"one"}


def test_human_questions_of_a_file_find_their_passages(passages, tmp_path):
    file = tmp_path / "questions.csv"
    file.write_text(
        "question,file,section,answer\n"
        "Is a kettle hard to clean?,kettle.md,How do I clean a kettle?,\n"
        'How are lids treated?,,,"opened first, and the river is"\n'
        "Who was Caesar?,,,a Roman\n"
    )
    found, unmatched = read_questions(str(file), passages)
    assert unmatched == ["Who was Caesar?"]
    texts = {passage.id: passage for passage in passages}
    first, second = ([texts[id] for id in own] for _, own in found.values())
    assert {p.section[-1] for p in first} == {"How do I clean a kettle?"}
    assert {p.file for p in second} == {"river.md"}
    file.write_text("question,page\nwhy?,3\n")
    with pytest.raises(ValueError, match="line 2: a row has question, and file, section or answer"):
        read_questions(str(file), passages)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pairs": ["title"]}, "'title' is unknown; valid: titles, cloze"),
        ({"heldout": 1.0}, "leaves no document to train on; give documents.cloze_from=all"),
        ({"heldout": 0.0}, "documents.heldout is 0.0; it is above 0"),
        ({"pairs": ["titles"], "cloze_from": "all"}, "add cloze to documents.pairs"),
        ({"pairs": None}, "nothing to train on"),
        ({"questions": "gone.csv"}, "documents.questions=gone.csv is no file"),
        ({"files": ["gone.jsonl"]}, "there is no gone.jsonl"),
        ({"reference": ["gone"]}, "gone is no folder that sentence-transformers wrote"),
        ({"reference": ["http://x/v1"]}, "name its model: documents.reference="),
        ({"reference": "gone"}, "documents.reference=\\[FOLDER\\]"),
        ({"hold": 1}, "has no hold"),
    ],
)
def test_settings_that_cannot_be_are_told(given, message):
    with pytest.raises(ValueError, match=message):
        build_settings("docs", given)
