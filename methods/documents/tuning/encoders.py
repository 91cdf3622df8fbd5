"""Encode with the model that is trained, before and after, and fit the query adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from methods.config.encoders import build_encoder
from methods.config.resolve import EvaluationSpec
from methods.documents.tuning.baselines import Encode, encode_once, rank_sets
from methods.documents.tuning.material import Material
from methods.documents.tuning.query_adapter import (
    QueryAdapter,
    apply_matrix,
    train_query_adapter,
)
from methods.documents.tuning.questions import QuestionSet
from methods.documents.tuning.retrieval_metrics import (
    MAIN,
    average_scores,
    rank_vectors,
    score_rankings,
)
from methods.documents.tuning.settings import Reference
from methods.documents.vectors import INSTRUCTION
from methods.encoding.encoder import Encoder
from methods.encoding.instructions import Instructions
from methods.identity import digest, digest_files
from methods.training.config import find_trained_spec
from methods.training.job import TrainJob


def open_encoder(job: TrainJob, *, trained: bool) -> Encode:
    """Return what encodes with a training's model, as it was or as it is trained.

    No vector is cached: the table states how long they take.
    """
    spec = find_trained_spec(job, job.folder) if trained else job.spec
    resolved = EvaluationSpec(job.name, spec, [job.method], Instructions())
    return make_encode(build_encoder(resolved, None))


def make_encode(encoder: Encoder) -> Encode:
    """Return what encodes questions and documents with an encoder, as unit vectors."""
    asked = None
    if encoder.method.uses_instructions:
        asked = encoder.method.phrase_instruction(INSTRUCTION)

    def encode(texts: Sequence[str], side: Any) -> np.ndarray:
        instruction = asked if side == "query" else None
        codes = encoder.encode(list(texts), prompt_type=side, instruction=instruction)
        vectors_ND = encoder.restore(codes).astype(np.float32)
        norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        return vectors_ND / np.maximum(norms_N1, 1e-18)

    return encode


def validate(questions: QuestionSet, encode: Encode) -> float:
    """Return the mean nDCG@10 of some questions, which training chooses its checkpoint by."""
    ranked = rank_sets([questions], encode)[questions.name]
    return average_scores(score_rankings(ranked, questions.relevant))[MAIN]


def fit_query_adapter(material: Material, encode: Encode) -> QueryAdapter:
    """Train a query adapter on the training pairs; rate and steps are chosen on the validation
    questions."""
    pairs = [pair for own in material.pairs.rows.values() for pair in own]
    documents = encode_once([pair.positive for pair in pairs], "document", encode)
    queries = encode_once([pair.query for pair in pairs], "query", encode)
    place = {text: number for number, text in enumerate(documents)}
    held = material.pairs.validation
    searched_ND = np.stack(
        list(encode_once(list(held.corpus.values()), "document", encode).values())
    )
    asked = encode_once(list(held.queries.values()), "query", encode)
    asked_QD = np.stack([asked[query] for query in held.queries.values()])

    def score(matrix_DD: np.ndarray) -> float:
        ranked = rank_vectors(apply_matrix(asked_QD, matrix_DD), searched_ND, list(held.corpus))
        named = dict(zip(held.queries, ranked, strict=True))
        return average_scores(score_rankings(named, held.relevant))[MAIN]

    return train_query_adapter(
        np.stack([queries[pair.query] for pair in pairs]),
        np.stack(list(documents.values())),
        np.array([place[pair.positive] for pair in pairs]),
        score,
    )


def identify_reference(reference: Reference) -> str:
    """Return a digest of what a reference ranks with: a folder's files, an endpoint's names."""
    if reference.path is None:
        return digest(asdict(reference), 16)
    folder = Path(reference.path).expanduser()
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return digest([str(f.relative_to(folder)) for f in files], 8) + digest_files(*files)[:16]
