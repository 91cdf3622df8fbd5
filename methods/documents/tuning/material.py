"""Read documents and make of them all that a training on them and its table need.

RUNS/documents/NAME_DIGEST/
    documents.json           settings, the files of both sides, how many passages and questions
    questions.jsonl          each question with the passages that answer it
    pairs/SOURCE.jsonl       training pairs
    validation/              a BEIR folder of the questions that choose the best checkpoint

It does not depend on the model beyond its tokenizer, nor on the training's seed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from methods.documents.files import find_documents
from methods.documents.passage import Passage
from methods.documents.reading import read_passages
from methods.documents.synthesis.outputs import write_lines, write_training
from methods.documents.tuning.pairs import TrainingPairs, make_pairs
from methods.documents.tuning.questions import QuestionSet
from methods.documents.tuning.sets import list_hidden, make_sets
from methods.documents.tuning.settings import DocumentsSettings
from methods.documents.tuning.split import Split, split_passages
from methods.identity import digest
from methods.provenance import make_portable
from methods.records import write_atomically

log = logging.getLogger(__name__)


@dataclass
class Material:
    """What is trained on and scored.

    sets: questions of held-out documents. skipped: files that were not read, with the reason.
    digest: of all texts, and of what decided them.
    """

    split: Split
    pairs: TrainingPairs
    sets: list[QuestionSet]
    skipped: list[str]
    digest: str


def read_material(settings: DocumentsSettings, get_tokenizer: Callable[[], Any]) -> Material:
    """Read documents, split them, and make pairs and questions.

    get_tokenizer: loads the encoder's; called once there is something to read. Raises ValueError
    for documents of which nothing can be trained on or scored.
    """
    passages, skipped = _read(settings, get_tokenizer)
    split = split_passages(
        passages, heldout=settings.heldout, min_files=settings.min_files, seed=settings.seed
    )
    hidden = list_hidden(settings, passages)
    sets = make_sets(settings, passages, split, hidden)
    if not sets:
        raise ValueError(
            f"no question is answered by the {len(split.heldout)} held-out passages alone; hold "
            f"out more (documents.heldout, now {settings.heldout:g}), or give "
            f"documents.questions=FILE"
        )
    pairs = make_pairs(
        split,
        kinds=settings.pairs,
        cloze_from=settings.cloze_from,
        files=settings.files,
        hidden=hidden,
        validation=settings.validation,
        seed=settings.seed,
    )
    for name, number in pairs.left_out.items():
        if number:
            log.info("%s: %d pairs with text of held-out passages are left out", name, number)
    if not any(pairs.rows.values()) or not pairs.validation.queries:
        raise ValueError(
            f"{settings.docs} gives {sum(map(len, pairs.rows.values()))} training pairs and "
            f"{len(pairs.validation.queries)} validation questions; it needs some of both: give "
            f"more documents, or change documents.validation (now {settings.validation:g})"
        )
    rows = {name: [(p.query, p.positive) for p in own] for name, own in pairs.rows.items()}
    parts = [rows, pairs.validation, *sets]
    mark = digest([part if isinstance(part, dict) else _plain(part) for part in parts], 12)
    return Material(split, pairs, sets, skipped, mark)


def write_material(material: Material, settings: DocumentsSettings, runs: Path) -> Path:
    """Write the files of the module's docstring; return their folder."""
    name = Path(settings.docs).expanduser().resolve().stem or "documents"
    folder = runs / "documents" / f"{name}_{material.digest}"
    for source, pairs in material.pairs.rows.items():
        write_training(folder / "pairs" / f"{source}.jsonl", pairs)
    _write_beir(folder / "validation", material.pairs.validation)
    write_lines(
        folder / "questions.jsonl",
        (
            {"set": one.name, "id": id, "question": query, "answers": sorted(one.relevant[id])}
            for one in material.sets
            for id, query in one.queries.items()
        ),
    )
    about = json.dumps(describe_material(material, settings), indent=2, ensure_ascii=False)
    write_atomically(folder / "documents.json", about + "\n")
    return folder


def describe_material(material: Material, settings: DocumentsSettings) -> dict[str, Any]:
    """Return what a record states of the documents."""
    split, pairs = material.split, material.pairs
    given = {k: v for k, v in asdict(settings).items() if k != "reference"}
    return {
        "documents": make_portable(given),
        "digest": material.digest,
        "split": {
            "by": split.by,
            "passages": {"training": len(split.training), "heldout": len(split.heldout)},
            "files": split.list_files(),
        },
        "skipped": material.skipped,
        "pairs": {name: len(own) for name, own in pairs.rows.items()},
        "left_out": pairs.left_out,
        "validation": len(pairs.validation.queries),
        "questions": {
            one.name: {
                "about": one.about,
                "questions": len(one.queries),
                "searched": len(one.corpus),
            }
            for one in material.sets
        },
    }


def _read(
    settings: DocumentsSettings, get_tokenizer: Callable[[], Any]
) -> tuple[list[Passage], list[str]]:
    """Return the passages, and the skipped files. Raises ValueError for fewer than two passages."""
    found = find_documents(settings.docs, include=settings.include)
    if not found.files:
        reasons = [f"{one.file}: {one.reason}" for one in found.skipped[:3]]
        reasons += [f"{n} {suffix}" for suffix, n in found.unknown.most_common(3)]
        holds = f" ({'; '.join(reasons)})" if reasons else ""
        raise ValueError(
            f"docs={settings.docs} holds no document that can be read{holds}; give a folder of "
            f"txt, md, html, rst, pod, py or pdf"
        )
    reading = read_passages(
        settings.docs,
        max_tokens=settings.max_tokens,
        tokenizer=get_tokenizer(),
        include=settings.include,
    )
    for skipped in reading.skipped:
        log.warning("%s is skipped: %s", skipped.file, skipped.reason)
    if len(reading.passages) < 2:
        raise ValueError(
            f"docs={settings.docs} has {len(reading.passages)} passage"
            f"{'' if len(reading.passages) == 1 else 's'} of {settings.max_tokens} tokens, which "
            f"cannot be split into training and held-out; give more documents, or smaller "
            f"passages: documents.max_tokens=64"
        )
    return reading.passages, [f"{one.file}: {one.reason}" for one in reading.skipped]


def _write_beir(folder: Path, questions: QuestionSet) -> None:
    write_lines(
        folder / "corpus.jsonl",
        ({"_id": id, "title": "", "text": text} for id, text in questions.corpus.items()),
    )
    queries = ({"_id": id, "text": query} for id, query in questions.queries.items())
    write_lines(folder / "queries.jsonl", queries)
    lines = [f"{query}\t{id}\t1" for query, own in questions.relevant.items() for id in sorted(own)]
    text = "\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n"
    write_atomically(folder / "qrels" / "validation.tsv", text)


def _plain(questions: QuestionSet) -> list[Any]:
    relevant = {id: sorted(own) for id, own in questions.relevant.items()}
    return [questions.name, dict(questions.queries), dict(questions.corpus), relevant]
