"""What an encoder says of pairs: whether a question finds its own passage, and hard negatives."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import Pair, Reject
from methods.encoding.encoder import Encoder

INSTRUCTION = "Given a question, retrieve passages that answer the question"
BLOCK = 1024  # queries that are compared with all passages at once


@dataclass(frozen=True)
class Sides:
    """An encoder as sentence-transformers takes it: queries and documents, as unit vectors."""

    encoder: Encoder
    instruction: str = INSTRUCTION
    device: str = "cpu"

    def encode_query(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        """Return vectors [N, D] of queries."""
        used = self.encoder.method.uses_instructions
        instruction = self.instruction if used else None
        return self._encode(texts, prompt_type="query", instruction=instruction)

    def encode_document(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        """Return vectors [N, D] of documents."""
        return self._encode(texts, prompt_type="document")

    def similarity(self, queries_ND: Any, documents_MD: Any) -> Any:
        """Return the cosines [N, M]."""
        from sentence_transformers.util import cos_sim

        return cos_sim(queries_ND, documents_MD)

    def similarity_pairwise(self, queries_ND: Any, documents_ND: Any) -> Any:
        """Return the cosine [N] of each query with its document."""
        from sentence_transformers.util import pairwise_cos_sim

        return pairwise_cos_sim(queries_ND, documents_ND)

    def _encode(self, texts: Sequence[str], **how: Any) -> np.ndarray:
        vectors_ND = self.encoder.encode(list(texts), **how)
        norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        return vectors_ND / np.where(norms_N1 == 0, 1, norms_N1)


def find_ranks(pairs: Sequence[Pair], texts: Mapping[str, str], sides: Sides) -> list[int]:
    """Return the rank of each pair's own document among all texts for its query, from 1.

    texts: documents by id. Texts that score alike share the better rank.
    """
    if not pairs:
        return []
    places = {id: place for place, id in enumerate(texts)}
    documents_MD = sides.encode_document(list(texts.values()))
    queries_ND = sides.encode_query([pair.query for pair in pairs])
    ranks: list[int] = []
    for start in range(0, len(pairs), BLOCK):
        scores_NM = queries_ND[start : start + BLOCK] @ documents_MD.T
        own = [places[pair.document] for pair in pairs[start : start + BLOCK]]
        own_N1 = scores_NM[np.arange(len(own)), own][:, None]
        ranks += (1 + (scores_NM > own_N1 + 1e-6).sum(axis=1)).tolist()
    return ranks


def filter_round_trip(
    pairs: Sequence[Pair], passages: Iterable[Passage], sides: Sides, *, top_k: int
) -> tuple[list[Pair], list[Reject]]:
    """Return the pairs whose query finds its own passage among the first `top_k` of all, and the
    others."""
    texts = {passage.id: passage.text for passage in passages}
    found, rejects = [], []
    for pair, rank in zip(pairs, find_ranks(pairs, texts, sides), strict=True):
        if rank <= top_k:
            found.append(pair)
        else:
            group = pair.prompt or pair.kind
            rejects.append(Reject(pair.id, group, "round trip failed", pair.query))
    return found, rejects


def make_corpus(pairs: Iterable[Pair], passages: Iterable[Passage] = ()) -> dict[str, str]:
    """Return the documents that queries of one kind are searched in, by id: every passage, or,
    where a pair took something out of it, what the pair left; and of several alike the first."""
    texts = {passage.id: passage.text for passage in passages}
    texts |= {pair.document: pair.positive for pair in pairs}
    first: dict[str, str] = {}
    for id, text in texts.items():
        first.setdefault(text, id)
    return {id: text for text, id in first.items()}


def mine_negatives(
    pairs: Sequence[Pair], corpus: Mapping[str, str], sides: Sides, *, number: int, margin: float
) -> tuple[list[Pair], int]:
    """Return the pairs with the `number` documents nearest to each query whose cosine is at least
    `margin` below the positive's, and how many pairs have not so many and stay without.

    corpus: of pairs of one kind (make_corpus). By sentence-transformers' mine_hard_negatives.
    """
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    if not pairs or len(corpus) < 2:
        return list(pairs), len(pairs)
    rows = {
        "query": [pair.query for pair in pairs],
        "positive": [pair.positive for pair in pairs],
    }
    model: Any = sides
    with contextlib.redirect_stderr(io.StringIO()):  # a bar of its own, for one batch
        mined: Any = mine_hard_negatives(
            Dataset.from_dict(rows),
            model,
            corpus=list(corpus.values()),
            absolute_margin=margin,
            num_negatives=number,
            output_format="n-tuple",
            verbose=False,
        )
    names = [f"negative_{place + 1}" for place in range(number)]
    found = {(row["query"], row["positive"]): tuple(row[name] for name in names) for row in mined}
    complete = [
        replace(pair, negatives=found.get((pair.query, pair.positive), ())) for pair in pairs
    ]
    return complete, sum(not pair.negatives for pair in complete)
