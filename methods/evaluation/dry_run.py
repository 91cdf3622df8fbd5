"""Find the texts that a task's evaluation would encode, and time its scoring, without a model.

mteb evaluates the task as ever, but is given random vectors. What it hands over to be encoded is
then what it would hand over to a model: sampled training texts, both sides of pairs, a corpus.
Retrieval is not searched to its end, which takes hours on a large corpus: the similarities of a
part of the corpus are timed instead.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from methods.base import Method
from methods.encoding.encoder import Encoder
from methods.encoding.instructions import Instructions
from methods.encoding.mteb_interface import Variant
from methods.evaluation.data_counts import iterate_scored_data
from methods.evaluation.geometry import make_recorder, measure_geometry
from methods.evaluation.mteb_internals import encode_rows, list_parts
from methods.evaluation.records import Part
from methods.evaluation.task_data import list_requested_parts

COUNTED = 4_000_000  # characters of a side up to which all its texts are kept
SAMPLE = 2000  # texts that are kept of a longer one
NUMBERS = 1 << 26  # in the random vectors of one call, at most: 256 MiB
DIMENSIONS = 1024  # of one; of wider ones the seconds are extrapolated
CHUNK = 50_000  # documents that mteb encodes at a time
SEARCHED = 1000  # queries, and documents, whose similarities are timed


@dataclass
class Side:
    """The texts that are encoded as one side of a task: as queries, as documents, or as neither.

    texts: their number. different: digests of those that differ. kept: all of them, in order, or a
    uniform sample of the different ones.
    """

    side: Any
    instruction: str | None
    texts: int = 0
    different: set[int] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)
    whole: bool = True
    _characters: int = 0
    _draw: random.Random = field(default_factory=lambda: random.Random(0), repr=False)

    def add(self, texts: Sequence[str]) -> None:
        """Add the texts of one call."""
        for text in texts:
            self.texts += 1
            mark, before = hash(text), len(self.different)
            self.different.add(mark)
            if self.whole:
                self.kept.append(text)
                self._characters += len(text)
                if self._characters > COUNTED:
                    self._start_sampling()
            elif len(self.different) > before:
                place = self._draw.randrange(len(self.different))
                if place < len(self.kept):
                    self.kept[place] = text

    def _start_sampling(self) -> None:
        different = list(dict.fromkeys(self.kept))
        self.kept = self._draw.sample(different, min(SAMPLE, len(different)))
        self.whole = False


class _Searched(Exception):
    """Queries and documents are known; the search is not needed."""


class Collector(Encoder):
    """An encoder that keeps what it is given and returns random vectors.

    scored: seconds that searching would take. encoded: seconds spent here, which no scoring takes.
    """

    def __init__(
        self, cell: Method, instructions: Instructions, variant: Variant, dimensions: int
    ) -> None:
        self._method, self.instructions, self.variant = cell, instructions, variant
        self.dimensions = dimensions
        self.recorder: Any = None
        self.sides: dict[tuple[Any, str | None], Side] = {}
        self.scored = self.encoded = 0.0
        self._random = np.random.default_rng(0)
        self._corpus: Any = None

    def _encode(
        self,
        texts: Sequence[str],
        side: Any,
        instruction: str | None,
        *,
        unit: bool | None = None,
        title: str,
    ) -> np.ndarray:
        start = time.perf_counter()
        own = self.sides.setdefault((side, instruction), Side(side, instruction))
        own.add(texts)
        vectors_ND = self._random.standard_normal((len(texts), self.dimensions), np.float32)
        self.encoded += time.perf_counter() - start
        return vectors_ND

    def _quantize_and_restore(self, vectors_ND: np.ndarray, unit: bool) -> np.ndarray:
        return vectors_ND  # its time is lost in the scoring's

    def index(self, corpus: Any, **_: Any) -> None:
        """Take a corpus from mteb."""
        self._corpus = corpus

    def search(self, queries: Any, *, encode_kwargs: Any, top_k: int, **about: Any) -> Any:
        """Take the queries and the documents. Raises _Searched: nothing is searched."""
        about = {key: about[key] for key in ("task_metadata", "hf_split", "hf_subset")}
        encode_rows(self, queries, "query", encode_kwargs=encode_kwargs, **about)
        for first in range(0, len(self._corpus), CHUNK):
            rows = self._corpus.select(range(first, min(first + CHUNK, len(self._corpus))))
            encode_rows(self, rows, "document", encode_kwargs=encode_kwargs, **about)
        self.scored = self._time_search(len(queries), len(self._corpus), top_k=top_k)
        raise _Searched

    def _time_search(self, queries: int, documents: int, *, top_k: int) -> float:
        """Return the seconds that similarities and the best of them take, from a part of both."""
        shapes = [(min(n, SEARCHED), self.dimensions) for n in (queries, documents)]
        first, second = (self._random.standard_normal(shape, np.float32) for shape in shapes)
        start = time.perf_counter()
        scores = torch.as_tensor(self.similarity(first, second))
        scores.topk(min(top_k, scores.shape[1]), dim=1)
        seconds = time.perf_counter() - start
        return seconds * queries / len(first) * documents / len(second)


def run_dry(task: Any, parts: Sequence[Part], collector: Collector, *, dimensions: int) -> float:
    """Evaluate parts of a loaded task with random vectors; return the seconds that scoring takes.

    dimensions: of the model's vectors, of which the collector's may be a part.
    """
    members = list_parts(task)
    scale, seconds = dimensions / collector.dimensions, 0.0
    for member in members:
        collector.recorder = recorder = make_recorder(member)
        for split, subset in parts if members == [task] else list_requested_parts(member):
            collector.scored = collector.encoded = 0.0
            start = time.perf_counter()
            try:
                member.evaluate(
                    collector,
                    split,
                    subsets_to_run=[subset],
                    encode_kwargs={"batch_size": 1024, "show_progress_bar": False},
                )
                collector.scored += time.perf_counter() - start - collector.encoded
            except _Searched:
                pass
            seconds += collector.scored * scale
        start = time.perf_counter()
        measure_geometry(member, recorder, faults=[])
        # Of pairs it finds the axes of all dimensions, which takes the cube of their number.
        seconds += (time.perf_counter() - start) * scale ** (3 if recorder.pairs else 1)
    return seconds


def choose_dimensions(task: Any, dimensions: int) -> int:
    """Return of how many dimensions random vectors of a task are: the model's, or fewer, where all
    of its texts would not fit and where measuring would take long."""
    rows = 1
    for member in list_parts(task):
        for _, _, data in iterate_scored_data(member):
            corpus = data["corpus"] if "corpus" in getattr(data, "keys", tuple)() else data
            rows = max(rows, min(len(corpus), CHUNK) if corpus is not data else len(data))
    return max(min(dimensions, DIMENSIONS, NUMBERS // rows), min(dimensions, 8))
