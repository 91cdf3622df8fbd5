"""Measure how much of a vector comes from where in a text: four tasks that no one labelled.

    PositionRemoval20, 80, 240   a fifth of a text's 20, 80 or 240 words is removed, at five places
    PositionInsertion80          16 words of another text are inserted into 80, at six places

A text and its edited versions are pairs. What an edit changes is 1 - cosine of the two vectors; its
share is that of the sum over the places of the same text. The main score is the share of the first
half of the text, in which a place in the middle counts half: 0.5 if all places weigh alike, more if
the beginning outweighs the end. No value is better than another. `share_0`, `share_1` ... are the
places from the beginning, averaged over texts. The standard error (`main_score_error`) is over
texts, since the edits of one text depend on each other.

Texts are 20 Newsgroups posts as demo_tasks.py has them: lower-cased, without punctuation.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS

from methods.data.demo import SEED, draw_sample, read_newswires
from methods.evaluation.demo_tasks import DemoNewsgroups, make_metadata
from methods.evaluation.mteb_internals import encode_column

LONGEST = 240  # words: all tasks are of the beginnings of the same posts
PER_GROUP = 3


class PositionRemoval80(AbsTaskSTS):
    """Remove a fifth of a text at each of five places."""

    metadata = make_metadata(
        "PositionRemoval80",
        "STS",
        "early_share",
        "Retrieve semantically similar text.",
        "24 newsgroup posts of 80 words, each without one of its fifths",
        "http://qwone.com/~jason/20Newsgroups/",
    )
    min_score, max_score = 0, 1
    words, places = 80, 5

    def edit(self, words: list[str], place: int, other: list[str]) -> list[str]:
        """Return a text's words, edited at a place. other: the words of another text."""
        start, end = (round(len(words) * at / self.places) for at in (place, place + 1))
        return words[:start] + words[end:]

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        texts = draw_posts()
        rows = []
        for text, other in zip(texts, texts[1:] + texts[:1], strict=True):
            own = text.split()[: self.words]
            for place in range(self.places):
                edited = self.edit(own, place, other.split())
                rows.append((" ".join(own), " ".join(edited), place / (self.places - 1)))
        columns = zip(("sentence1", "sentence2", "score"), zip(*rows, strict=True), strict=True)
        data = Dataset.from_dict({name: list(values) for name, values in columns})
        self.dataset = {"default": DatasetDict({"test": data})}
        self.data_loaded = True

    def _evaluate_subset(
        self,
        model: Any,
        data_split: Dataset,
        *,
        encode_kwargs: Any,
        hf_split: str,
        hf_subset: str,
        **kwargs: Any,
    ) -> dict[str, Any]:
        options = {"encode_kwargs": encode_kwargs, "hf_split": hf_split, "hf_subset": hf_subset}
        before, after = (
            encode_column(self, model, data_split, column, **options)
            for column in ("sentence1", "sentence2")
        )
        shares_TP = measure_shares(before, after, self.places)
        early_T = sum_early(shares_TP)
        return {
            "early_share": float(early_T.mean()),
            "main_score_error": float(early_T.std(ddof=1) / len(early_T) ** 0.5),
            **{f"share_{place}": float(share) for place, share in enumerate(shares_TP.mean(0))},
        }


def draw_posts() -> list[str]:
    """Return posts of at least LONGEST words, cut there: PER_GROUP of each group, mixed."""
    posts = read_newswires("20newsgroups-test.tab")
    long = [(text, group) for text, group in posts if len(text.split()) >= LONGEST]
    rows = draw_sample(long, DemoNewsgroups.groups, per_class=PER_GROUP, words=LONGEST, seed=SEED)
    texts = sorted(text for text, _ in rows)
    random.Random(SEED).shuffle(texts)
    return texts


def measure_shares(before_ND: np.ndarray, after_ND: np.ndarray, places: int) -> np.ndarray:
    """Return what each edit changes, as a share of its text's: [texts, places].

    before_ND, after_ND: vectors of N pairs, the places of a text one after the other. A text whose
    vector no edit changes has even shares.
    """
    norms_N = np.linalg.norm(before_ND, axis=1) * np.linalg.norm(after_ND, axis=1)
    cosines_N = (before_ND * after_ND).sum(1) / np.maximum(norms_N, 1e-18)
    changes_TP = np.maximum(1 - cosines_N, 0).reshape(-1, places)
    totals_T1 = changes_TP.sum(1, keepdims=True)
    even = np.full_like(changes_TP, 1 / places)
    return np.divide(changes_TP, totals_T1, out=even, where=totals_T1 > 0)


def sum_early(shares_TP: np.ndarray) -> np.ndarray:
    """Return the share of each text's first half; a place in the middle counts half."""
    places = shares_TP.shape[1]
    weights_P = np.arange(places) < places // 2
    return shares_TP @ (weights_P + 0.5 * (np.arange(places) * 2 == places - 1))


def _vary(words: int) -> type[PositionRemoval80]:
    """Return the task of removal with texts of another length."""
    name = f"PositionRemoval{words}"
    about = f"24 newsgroup posts of {words} words, each without one of its fifths"
    return type(name, (PositionRemoval80,), {"metadata": _rename(name, about), "words": words})


def _rename(name: str, about: str) -> Any:
    metadata = PositionRemoval80.metadata
    dataset = {**metadata.dataset, "path": f"dec2vec/{name}"}
    return metadata.model_copy(update={"name": name, "description": about, "dataset": dataset})


PositionRemoval20, PositionRemoval240 = _vary(20), _vary(240)


class PositionInsertion80(PositionRemoval80):
    """Insert 16 words of another text at each of six places."""

    metadata = _rename(
        "PositionInsertion80",
        "24 newsgroup posts of 80 words, each with 16 words of another inserted at six places",
    )
    places, inserted = 6, 16

    def edit(self, words: list[str], place: int, other: list[str]) -> list[str]:
        start = round(len(words) * place / (self.places - 1))
        return words[:start] + other[: self.inserted] + words[start:]


POSITION_TASKS: dict[str, type[Any]] = {
    task.metadata.name: task
    for task in (PositionRemoval20, PositionRemoval80, PositionRemoval240, PositionInsertion80)
}
