"""Sets of questions with the passages that answer them: human ones, titles, and cloze sentences.

A title that is asked as a question must not stand above the passage that answers it, or its own
words would find it. So of every passage that is trained on or searched, the headings that are
questions somewhere in the documents are hidden.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from methods.data.readers import open_table
from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import Pair, normalize
from methods.documents.synthesis.rules import find_titles
from methods.documents.vectors import format_passage

COLUMNS = ("question", "file", "section", "answer")
WORDS = 3  # of a heading that is a question


@dataclass(frozen=True)
class QuestionSet:
    """Questions, the documents that are searched, and which of them answer each question.

    queries: id -> question. corpus: id -> text. relevant: a question's id -> ids of documents.
    about: what the questions are, for a caption.
    """

    name: str
    about: str
    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]


def is_question(heading: str) -> bool:
    """Return whether a heading is a question: it ends in a question mark and has some words."""
    return heading.rstrip().endswith(("?", "？")) and len(heading.split()) >= WORDS


def list_question_headings(passages: Iterable[Passage]) -> set[str]:
    """Return every heading that is a question, by its words."""
    return {normalize(one) for passage in passages for one in passage.section if is_question(one)}


def format_passages(passages: Iterable[Passage], *, hidden: Collection[str] = ()) -> dict[str, str]:
    """Return what is encoded of passages, by their ids. hidden: headings, by their words."""
    found = {}
    for passage in passages:
        shown = tuple(one for one in passage.section if normalize(one) not in hidden)
        found[passage.id] = format_passage(replace(passage, section=shown))
    return found


def make_question_set(
    name: str,
    about: str,
    questions: Mapping[str, tuple[str, Collection[str]]],
    corpus: Mapping[str, str],
) -> QuestionSet:
    """Return a set of questions over a corpus in which documents that are alike are one.

    questions: id -> question and the ids of the passages that answer it.
    """
    first: dict[str, str] = {}
    for id, text in corpus.items():
        first.setdefault(text, id)
    return QuestionSet(
        name,
        about,
        {id: query for id, (query, _) in questions.items()},
        {id: text for text, id in first.items()},
        {id: frozenset(first[corpus[one]] for one in own) for id, (_, own) in questions.items()},
    )


def ask_headings(passages: Sequence[Passage]) -> dict[str, tuple[str, list[str]]]:
    """Return the headings that are questions, each with the passages below it.

    The same question above several sections has the passages of all.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for passage in passages:
        for heading in passage.section:
            if is_question(heading):
                id = f"heading/{normalize(heading)}"
                found.setdefault(id, (heading.strip(), []))[1].append(passage.id)
    return found


def ask_titles(
    pairs: Iterable[Pair], passages: Sequence[Passage]
) -> dict[str, tuple[str, list[str]]]:
    """Return title pairs as questions, each answered by every passage of its section."""
    own = {passage.id: (passage.file, find_titles(passage)) for passage in passages}
    sections: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for passage in passages:
        sections.setdefault(own[passage.id], []).append(passage.id)
    return {pair.id: (pair.query, sections[own[pair.document]]) for pair in pairs}


def read_questions(
    file: str, passages: Sequence[Passage]
) -> tuple[dict[str, tuple[str, list[str]]], list[str]]:
    """Read human questions; return them with their passages, and those that no passage matches.

    A row has `question` and at least one of `file` (of the documents, by its name), `section` (a
    heading above the passage) and `answer` (text that stands in it); a passage matches that has all
    that are given. Raises ValueError for a row without them.
    """
    table = open_table(Path(file).expanduser())
    found: dict[str, tuple[str, list[str]]] = {}
    unmatched = []
    plain = {passage.id: normalize(passage.text) for passage in passages}
    headings = {p.id: {normalize(one) for one in p.section} for p in passages}
    for place, row in table.iterate_places():
        given = {key: str(row.get(key) or "").strip() for key in COLUMNS}
        if not given["question"] or not any(given[key] for key in COLUMNS[1:]):
            raise ValueError(
                f"{file}, {place}: a row has question, and file, section or answer; it has: "
                f"{', '.join(key for key, value in row.items() if value) or 'nothing'}"
            )
        answer, section = normalize(given["answer"]), normalize(given["section"])
        own = [
            passage.id
            for passage in passages
            if given["file"] in ("", passage.file)
            and (not section or section in headings[passage.id])
            and (not answer or f" {answer} " in f" {plain[passage.id]} ")
        ]
        if own:
            found[f"question/{len(found)}"] = (given["question"], own)
        else:
            unmatched.append(given["question"])
    return found, unmatched


def select_heldout(
    questions: Mapping[str, tuple[str, Collection[str]]], heldout: Collection[str]
) -> dict[str, tuple[str, Collection[str]]]:
    """Return the questions that are answered by held-out passages alone."""
    return {id: (query, own) for id, (query, own) in questions.items() if set(own) <= set(heldout)}
