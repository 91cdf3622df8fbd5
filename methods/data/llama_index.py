"""Check LlamaIndex' EmbeddingQAFinetuneDataset, and make pairs of it.

Its JSON is one object: `queries` and `corpus` (id -> text) and `relevant_docs` (a query's id -> ids
of documents). Other keys (`mode`) are left aside.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)
KEYS = ("queries", "corpus", "relevant_docs")


class LlamaIndex(NamedTuple):
    """The three parts; that the texts are texts is not checked."""

    queries: dict[str, Any]
    corpus: dict[str, Any]
    relevant: dict[str, list[str]]


def check_llama_index(content: dict[str, Any], file: Path) -> LlamaIndex:
    """Return the parts of a JSON object. Raises ValueError for one that lacks a part, or that names
    an id which is not there."""
    if lacking := [key for key in KEYS if not isinstance(content.get(key), dict)]:
        raise ValueError(
            f"{file} is one JSON object; valid are an array of objects, or LlamaIndex' "
            f"EmbeddingQAFinetuneDataset, whose object {', '.join(lacking)} it lacks"
        )
    found = LlamaIndex(*(content[key] for key in KEYS))
    for query, documents in found.relevant.items():
        if not isinstance(documents, list):
            raise ValueError(f"{file}: relevant_docs of {query!r} is no list of ids: {documents!r}")
        if query not in found.queries:
            raise ValueError(f"{file}: relevant_docs names query {query!r}, queries lacks it")
        for document in documents:
            if not isinstance(document, str) or document not in found.corpus:
                raise ValueError(
                    f"{file}: query {query!r} names document {document!r}, corpus lacks it"
                )
    return found


def pair_llama_index(content: LlamaIndex, file: Path) -> list[dict[str, Any]]:
    """Return a row for each query and relevant document."""
    pairs = [
        {"query": content.queries[query], "positive": content.corpus[document]}
        for query, documents in content.relevant.items()
        for document in documents
    ]
    judged = {query for query, documents in content.relevant.items() if documents}
    if unused := len(set(content.queries) - judged):
        log.warning("%s: %d queries have no relevant document and are left out", file, unused)
    return pairs
