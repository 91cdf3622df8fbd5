"""Read a retrieval task: a BEIR folder, or LlamaIndex' JSON.

corpus.jsonl    {"_id": "d1", "title": "may be empty or left out", "text": "..."}
queries.jsonl   {"_id": "q1", "text": "..."}
qrels/test.tsv  query-id, corpus-id, score (a whole number; above 0 is relevant); a file a split
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods.data.llama_index import LlamaIndex
from methods.data.readers import find_files, open_table
from methods.data.rows import find_text_fault
from methods.evaluation.own_tasks.faults import raise_faults

log = logging.getLogger(__name__)
FILES = ("corpus.jsonl", "queries.jsonl", "qrels")
QRELS = ("query-id", "corpus-id", "score")
Judged = dict[str, dict[str, int]]  # query -> document -> grade


@dataclass(frozen=True)
class Collection:
    """A retrieval task's data.

    corpus: id -> (title, text). queries: id -> text. judged: split -> query -> document -> grade.
    """

    corpus: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    judged: Mapping[str, Judged]


def is_beir(folder: Path) -> bool:
    """Return whether a folder has a part of BEIR's layout."""
    return any((folder / name).exists() for name in FILES)


def read_beir(folder: Path) -> Collection:
    """Read a BEIR folder. Raises ValueError, naming file and line, for what is wrong with it."""
    if lacking := [name for name in FILES if not (folder / name).exists()]:
        raise ValueError(
            f"{folder} lacks {' and '.join(lacking)}; a BEIR folder has corpus.jsonl, "
            f"queries.jsonl and qrels/ with a .tsv file for each split"
        )
    corpus = _read_texts(folder / "corpus.jsonl", titled=True)
    queries = {name: text for name, (_, text) in _read_texts(folder / "queries.jsonl").items()}
    files = sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise ValueError(
            f"{folder / 'qrels'} has no .tsv file; it has one for each split: test.tsv"
        )
    judged = {file.stem: _read_qrels(file, queries, corpus) for file in files}
    return Collection(corpus, queries, judged)


def take_llama_index(content: LlamaIndex, file: Path) -> Collection:
    """Return LlamaIndex' dataset as a retrieval task with a test split."""
    faults: dict[str, str] = {}
    for part, texts in (("queries", content.queries), ("corpus", content.corpus)):
        for name, text in texts.items():
            if fault := find_text_fault("the text", text):
                faults[f"{part} {name!r}"] = fault
    raise_faults(str(file), faults, number=len(content.queries) + len(content.corpus), what="texts")
    judged = {query: dict.fromkeys(found, 1) for query, found in content.relevant.items() if found}
    if not judged:
        raise ValueError(f"{file}: relevant_docs names no document for any query")
    if unused := len(content.queries) - len(judged):
        log.warning("%s: %d queries have no relevant document and are left out", file, unused)
    corpus = {name: ("", text) for name, text in content.corpus.items()}
    return Collection(corpus, content.queries, {"test": judged})


def _read_texts(file: Path, *, titled: bool = False) -> dict[str, tuple[str, str]]:
    """Return id -> (title, text) of corpus.jsonl or queries.jsonl."""
    found: dict[str, tuple[str, str]] = {}
    places: dict[str, str] = {}
    faults: dict[str, str] = {}
    number = 0
    for place, row in open_table(find_files(file)[0]).iterate_places():
        number += 1
        name, fault = _read_name(row, "_id")
        title = (row.get("title") or "") if titled else ""
        text = row.get("text")
        if fault is None and "text" not in row:
            fault = f"it has no text; it has: {', '.join(row)}"
        elif fault is None and name in places:
            fault = f"_id {name!r} stands in {places[name]} already"
        elif fault is None and not isinstance(title, str):
            fault = f"title is of type {type(title).__name__}, not text"
        elif fault is None and not (title.strip() and text in (None, "")):
            fault = find_text_fault("text", text)
        if fault is not None:
            faults[place] = fault
            continue
        places[name], found[name] = place, (title, text or "")
    raise_faults(str(file), faults, number=number)
    if not found:
        raise ValueError(f"{file} has no row; each line is an object with _id and text")
    return found


def _read_qrels(file: Path, queries: Mapping[str, Any], corpus: Mapping[str, Any]) -> Judged:
    """Return a split's judgements; those of 0 and below are judged not relevant."""
    table = open_table(file)
    if lacking := [name for name in QRELS if name not in (table.columns or ())]:
        raise ValueError(
            f"{file} has no column {', '.join(lacking)}; its first line is: "
            f"{', '.join(table.columns or ())}. It names the columns: {', '.join(QRELS)}"
        )
    judged: Judged = {}
    faults: dict[str, str] = {}
    number = 0
    for place, row in table.iterate_places():
        number += 1
        query, document, grade = (row[name] for name in QRELS)
        if query not in queries:
            faults[place] = f"query {query!r} is not in queries.jsonl"
        elif document not in corpus:
            faults[place] = f"document {document!r} is not in corpus.jsonl"
        elif (grade := _read_grade(grade)) is None:
            faults[place] = f"score {row['score']!r} is no whole number"
        elif judged.setdefault(query, {}).setdefault(document, grade) != grade:
            faults[place] = (
                f"query {query!r} and document {document!r} are judged twice, differently"
            )
    raise_faults(str(file), faults, number=number, what="judgements")
    _refuse_irrelevant(judged, file)
    return judged


def _refuse_irrelevant(judged: Judged, file: Path) -> None:
    """Raise ValueError if no document is relevant; log how many queries have none."""
    without = [query for query, own in judged.items() if max(own.values()) <= 0]
    if len(without) == len(judged):
        raise ValueError(
            f"{file} has no {'judgement above 0' if judged else 'row'}; a relevant document has a "
            f"score of 1 or more"
        )
    if without:
        log.warning(
            "%s: %d of %d queries have no relevant document and score 0 (%s)",
            *(file, len(without), len(judged), ", ".join(without[:3])),
        )


def _read_name(row: Mapping[str, Any], key: str) -> tuple[str, str | None]:
    """Return a row's id as text, and what is wrong with it."""
    name = row.get(key)
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name), None
    if isinstance(name, str) and name.strip():
        return name, None
    if key not in row:
        return "", f"it has no {key}; it has: {', '.join(_shorten(row))}"
    return "", f"{key} is {name!r}, no id"


def _shorten(row: Mapping[str, Any]) -> Iterator[str]:
    yield from list(row)[:6]


def _read_grade(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None
