"""Rank documents without the model that is trained: BM25, another encoder, an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from methods.documents.synthesis.endpoint import EndpointGenerator, Failed, Passing
from methods.documents.tuning.questions import QuestionSet
from methods.documents.tuning.retrieval_metrics import rank_documents, rank_vectors
from methods.documents.tuning.row import Ranked
from methods.documents.tuning.settings import Reference

BATCH = 64  # texts of a request
# Texts and their side, query or document -> unit vectors [N, D].
Encode = Callable[[Sequence[str], str], np.ndarray]


def rank_bm25(questions: QuestionSet) -> Ranked:
    """Rank by BM25 (bm25s with its defaults: Lucene's formula, English stop words, no stemming).

    Documents without a word of the question are not found.
    """
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)
    ids, texts = list(questions.corpus), list(questions.corpus.values())
    model = bm25s.BM25()
    model.index(_tokenize(texts), show_progress=False)
    known = set(model.vocab_dict)
    scores_QN = np.zeros((len(questions.queries), len(ids)), np.float32)
    for place, words in enumerate(_tokenize(list(questions.queries.values()))):
        if own := [word for word in words if word in known]:
            scores_QN[place] = model.get_scores(own)
    return dict(zip(questions.queries, rank_documents(scores_QN, ids, above=0.0), strict=True))


def _tokenize(texts: Sequence[str]) -> list[list[str]]:
    import bm25s

    found: Any = bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)
    return found


def rank_sets(
    sets: Sequence[QuestionSet],
    encode: Encode,
    *,
    adapt: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, Ranked]:
    """Rank the documents of several sets by cosine; texts that they share are encoded once.

    adapt: what is done to the vectors of questions. Returns the rankings by the set's name.
    """
    documents = encode_once(
        [text for one in sets for text in one.corpus.values()], "document", encode
    )
    queries = encode_once([text for one in sets for text in one.queries.values()], "query", encode)
    found = {}
    for one in sets:
        queries_QD = np.stack([queries[text] for text in one.queries.values()])
        documents_ND = np.stack([documents[text] for text in one.corpus.values()])
        if adapt is not None:
            queries_QD = adapt(queries_QD)
        ranked = rank_vectors(queries_QD, documents_ND, list(one.corpus))
        found[one.name] = dict(zip(one.queries, ranked, strict=True))
    return found


def encode_once(texts: Sequence[str], side: str, encode: Encode) -> Mapping[str, np.ndarray]:
    """Return the vector of each text, every text encoded once."""
    unique = list(dict.fromkeys(texts))
    return dict(zip(unique, encode(unique, side), strict=True))


def remember_vectors(encode: Encode) -> Encode:
    """Return the same with a memory: no text is encoded twice."""
    known: dict[tuple[str, str], np.ndarray] = {}

    def encode_new(texts: Sequence[str], side: str) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if (side, text) not in known]
        if new:
            known.update({(side, t): v for t, v in zip(new, encode(new, side), strict=True)})
        return np.stack([known[side, text] for text in texts])

    return encode_new


def open_reference(reference: Reference, *, device: str = "cpu") -> Encode:
    """Return what encodes with a sentence-transformers folder, or with an endpoint's model."""
    if reference.url is not None:
        return _open_endpoint(reference)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(str(reference.path)).expanduser()), device=device)

    def encode(texts: Sequence[str], side: str) -> np.ndarray:
        of_side = model.encode_query if side == "query" else model.encode_document
        return _unit(np.asarray(of_side(list(texts), show_progress_bar=False), np.float32))

    return encode


def _open_endpoint(reference: Reference) -> Encode:
    client = EndpointGenerator(
        str(reference.url).rstrip("/").removesuffix("/embeddings"),
        str(reference.model),
        key_env=reference.key_env,
        section="documents.reference",
    )

    def encode(texts: Sequence[str], side: str) -> np.ndarray:
        found = []
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            body = {"model": reference.model, "input": part, "encoding_format": "float"}
            try:
                found += client.post("/embeddings", body, partial(_read, number=len(part)))
            except Failed as error:
                raise ValueError(f"{client.url} gave no vectors: {error}") from error
        return _unit(np.array(found, np.float32))

    return encode


def _read(content: Any, number: int) -> list[list[float]]:
    """Return the vectors of an endpoint's JSON, in the order of the texts."""
    try:
        rows = sorted(content["data"], key=lambda row: row["index"])
        vectors = [[float(one) for one in row["embedding"]] for row in rows]
    except (KeyError, TypeError, ValueError):
        raise Passing(
            f"the answer has no data[].embedding: {str(content)[:80]}", "garbage"
        ) from None
    if len(vectors) != number or len({len(one) for one in vectors}) != 1:
        raise Passing(f"{len(vectors)} vectors for {number} texts, or of several sizes", "garbage")
    return vectors


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-18)
