"""Write pairs as files that `dec2vec train` and `dec2vec evaluate` read.

OUT/pairs.jsonl              all pairs, with what they were made from
OUT/rejects.jsonl            what became no pair, and why
OUT/train/KIND.jsonl         query, positive, negatives: data=file data.sources.mine.path=...
OUT/evaluate/KIND/           a BEIR folder: tasks.own=[OUT/evaluate/KIND]
OUT/evaluate/KIND.json       the same as LlamaIndex' EmbeddingQAFinetuneDataset
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import Pair, Reject
from methods.documents.synthesis.retrieval import make_corpus
from methods.records import write_atomically


def write_outputs(
    folder: Path,
    pairs: Sequence[Pair],
    rejects: Iterable[Reject],
    passages: Sequence[Passage] = (),
) -> dict[str, int]:
    """Write all files of an output; return how many rows for training each kind has.

    Where some pairs of a kind have negatives, those without are left out of its training file,
    whose rows have equally many. Files of an earlier run are replaced.
    """
    write_lines(folder / "pairs.jsonl", map(asdict, pairs))
    write_lines(folder / "rejects.jsonl", map(asdict, rejects))
    for part in ("train", "evaluate"):
        shutil.rmtree(folder / part, ignore_errors=True)
    rows = {}
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        own = [pair for pair in pairs if pair.kind == kind]
        rows[kind] = write_training(folder / "train" / f"{kind}.jsonl", own)
        corpus = make_corpus(own, passages)
        corpus |= _number_negatives(own, corpus)
        relevant = _find_relevant(own, corpus)
        write_beir(folder / "evaluate" / kind, own, corpus, relevant)
        write_llama_index(folder / "evaluate" / f"{kind}.json", own, corpus, relevant)
    return rows


def write_training(file: Path, pairs: Sequence[Pair]) -> int:
    """Write a row for each pair: query, positive, and negatives and instruction where there are
    any. Return how many rows there are."""
    needed = any(pair.negatives for pair in pairs)
    rows = []
    for pair in pairs:
        if needed and not pair.negatives:
            continue
        row: dict[str, Any] = {"query": pair.query, "positive": pair.positive}
        if needed:
            row["negatives"] = list(pair.negatives)
        if pair.instruction:
            row["instruction"] = pair.instruction
        rows.append(row)
    write_lines(file, rows)
    return len(rows)


def write_beir(
    folder: Path,
    pairs: Sequence[Pair],
    corpus: Mapping[str, str],
    relevant: Mapping[str, str],
) -> None:
    """Write a BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv."""
    write_lines(
        folder / "corpus.jsonl",
        ({"_id": id, "title": "", "text": text} for id, text in corpus.items()),
    )
    queries = ({"_id": pair.id, "text": pair.query} for pair in pairs)
    write_lines(folder / "queries.jsonl", queries)
    lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in relevant.items())]
    write_atomically(folder / "qrels" / "test.tsv", "\n".join(lines) + "\n")


def write_llama_index(
    file: Path,
    pairs: Sequence[Pair],
    corpus: Mapping[str, str],
    relevant: Mapping[str, str],
) -> None:
    """Write LlamaIndex' EmbeddingQAFinetuneDataset."""
    content = {
        "queries": {pair.id: pair.query for pair in pairs},
        "corpus": dict(corpus),
        "relevant_docs": {query: [document] for query, document in relevant.items()},
        "mode": "text",
    }
    write_atomically(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object a line."""
    write_atomically(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _find_relevant(pairs: Iterable[Pair], corpus: Mapping[str, str]) -> dict[str, str]:
    """Return the document of each query: of several alike, the one that the corpus has."""
    ids = {text: id for id, text in corpus.items()}
    return {pair.id: ids[pair.positive] for pair in pairs}


def _number_negatives(pairs: Iterable[Pair], corpus: Mapping[str, str]) -> dict[str, str]:
    """Return the negatives that a generator wrote, which no document is, by ids of their own."""
    known = set(corpus.values())
    written: dict[str, str] = {}
    for pair in pairs:
        for place, text in enumerate(pair.negatives):
            if text not in known:
                written[f"{pair.id}/negative_{place + 1}"] = text
                known.add(text)
    return written
