"""Per-example values of every kind of task reproduce the main score, or are not stored."""

import json

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from mteb import TaskResult
from mteb.abstasks import AbsTaskClassification, AbsTaskPairClassification
from mteb.models.model_meta import ModelMeta

from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.evaluation import tasks as task_module
from methods.evaluation.demo_tasks import DemoReverseDictionary, make_metadata
from methods.evaluation.job import Job
from methods.evaluation.per_example import (
    STATISTICS,
    CannotStore,
    Examples,
    collect,
    collect_or_raise,
)
from methods.evaluation.records import Record
from tests.evaluation.toys import ToySTS

WORDS = "red green blue cat dog horse bread cheese wine rain snow wind".split()


class ToyPairs(AbsTaskPairClassification):
    metadata = make_metadata(
        "ToyPairs", "PairClassification", "max_ap", "Find it.", "toy", "https://x.org"
    )

    def load_data(self, num_proc=None, **kwargs):
        pairs = [(a, b) for i, a in enumerate(WORDS) for b in WORDS[:i]]
        data = {
            "sentence1": [a for a, _ in pairs],
            "sentence2": [b for _, b in pairs],
            "labels": [int(len(a) == len(b)) for a, b in pairs],
        }
        self.dataset = {"default": DatasetDict({"test": Dataset.from_dict(data)})}
        self.data_loaded = True


class ToyClasses(AbsTaskClassification):
    metadata = make_metadata(
        "ToyClasses", "Classification", "accuracy", "Name it.", "toy", "https://x.org"
    )
    samples_per_label, n_experiments = 2, 3

    def load_data(self, num_proc=None, **kwargs):
        data = {"text": WORDS, "label": [i // 3 for i in range(12)]}
        parts = {split: Dataset.from_dict(data) for split in ("train", "test")}
        self.dataset = {"default": DatasetDict(parts)}
        self.data_loaded = True


class ToyRetrieval(DemoReverseDictionary):
    metadata = make_metadata(
        "ToyRetrieval", "Retrieval", "ndcg_at_10", {"query": "Find it."}, "toy", "https://x.org"
    )

    def load_data(self, num_proc=None, **kwargs):
        super().load_data()
        part = self.dataset["default"]["test"]
        part["corpus"] = part["corpus"].select(range(60))
        part["queries"] = part["queries"].select(range(20))
        ids = part["corpus"]["id"]
        part["relevant_docs"] = {
            query: {ids[i]: 1} for i, query in enumerate(part["queries"]["id"])
        }


class Stubborn(ToySTS):
    """Its score is not the one its predictions have."""

    metadata = make_metadata(
        "Stubborn", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org"
    )

    def _evaluate_subset(self, *args, **kwargs):
        return {**super()._evaluate_subset(*args, **kwargs), "cosine_spearman": 0.123}


class ToyGenres(ToySTS):
    metadata = make_metadata(
        "ToyGenres", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org"
    )

    def load_data(self, num_proc=None, **kwargs):
        super().load_data()
        part = self.dataset["default"]["test"]
        genres = ["news" if i % 3 else "captions" for i in range(len(part))]
        self.dataset["default"]["test"] = part.add_column("genre", genres)


TOYS = (ToySTS, ToyPairs, ToyClasses, ToyRetrieval, Stubborn, ToyGenres)
TOYS = {t.metadata.name: t for t in TOYS}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    find = task_module._get_task
    monkeypatch.setattr(task_module, "_get_task", lambda n: TOYS[n]() if n in TOYS else find(n))


def run(runs, *names, method="sgpt"):
    config = compose([f"method={method}", "model=tiny", "model.dtype=float32"])
    job = Job(resolve_evaluation(config, name=method), TaskList(names=names), runs)
    job.run()
    record = job.records[0]
    return record, json.loads(record.path.read_text())["tasks"]


@pytest.mark.parametrize(
    ("name", "statistic", "unit", "count"),
    [
        ("ToySTS", "spearman", "pair", 20),
        ("ToyPairs", "average_precision", "pair", 66),
        ("ToyClasses", "mean", "text", 12),
        ("ToyRetrieval", "mean", "query", 20),
    ],
)
def test_examples_give_the_main_score_again(name, statistic, unit, count, tmp_path):
    record, tasks = run(tmp_path, name)
    stated = tasks[name]["examples"]
    assert stated == {"statistic": statistic, "unit": unit, "count": count}
    kept = pd.read_csv(record.path.parent / "examples" / f"{name}.csv.gz")
    assert len(kept) == count and kept["example"].is_unique
    result = TaskResult.from_disk(record.path.parents[1] / f"{name}.json")
    gold = kept.get("gold", kept["value"])
    again = STATISTICS[statistic](kept["value"].to_numpy(), gold.to_numpy())
    assert again == pytest.approx(result.get_score(), abs=1e-4)
    assert result.get_score() not in (0, 1)  # which would be no test


def test_pairs_keep_the_genre_that_their_data_say(tmp_path):
    record, _ = run(tmp_path, "ToyGenres")
    kept = pd.read_csv(record.path.parent / "examples" / "ToyGenres.csv.gz")
    assert kept["genre"].tolist() == ["news" if i % 3 else "captions" for i in range(20)]


def test_examples_that_do_not_give_the_main_score_are_not_kept(tmp_path, caplog):
    record, tasks = run(tmp_path, "Stubborn")
    assert tasks["Stubborn"]["status"] == "done" and "examples" not in tasks["Stubborn"]
    assert "Stubborn has no values per example" in caplog.text and "0.12300" in caplog.text
    assert not (record.path.parent / "examples").exists()


def test_why_examples_are_not_kept_and_what_follows_is_said_once(tmp_path, caplog):
    run(tmp_path, "Stubborn")
    (line,) = [
        r.getMessage() for r in caplog.records if "has no values per example" in r.getMessage()
    ]
    assert "without a confidence interval and in no significance test" in line
    assert "mteb computed the score from something else" in line


def close_similarities(tmp_path, score=None):
    """A task of pairs whose similarities differ from the seventh digit on."""
    task, number = ToySTS(), 20
    task.load_data()
    value = [0.99999 + 1e-8 * ((7 * i) % number) for i in range(number)]
    gold = task.dataset["default"]["test"]["score"]
    score = STATISTICS["spearman"](np.array(value), np.array(gold)) if score is None else score
    file = tmp_path / "ToySTS_predictions.json"
    file.write_text(json.dumps({"default": {"test": {"cosine_scores": value}}}))
    scores = {"test": [{"hf_subset": "default", "languages": ["eng-Latn"], "main_score": score}]}
    result = TaskResult(
        dataset_revision="1", task_name="ToySTS", mteb_version="2", scores=scores, evaluation_time=0
    )
    return task, result, value


def test_values_keep_the_digits_that_their_ranks_need(tmp_path):
    task, result, value = close_similarities(tmp_path)
    found = collect(task, tmp_path, result)
    assert len(set(found.frame["value"])) == 20
    written = tmp_path / "kept.csv"
    found.frame.to_csv(written, index=False, float_format="%.6g")  # as records write them
    again = pd.read_csv(written)
    assert again["value"].to_list() == pytest.approx(value, abs=1e-9)
    spearman = STATISTICS["spearman"](again["value"].to_numpy(), again["gold"].to_numpy())
    assert spearman == pytest.approx(result.scores["test"][0]["main_score"], abs=1e-6)


def test_examples_of_two_runs_are_merged_digit_by_digit_with_columns_of_either(tmp_path):
    task, result, value = close_similarities(tmp_path)
    exact = collect(task, tmp_path, result)
    genre = exact.frame.assign(split="dev", genre="news", value=0.25)
    own = Record(tmp_path / "runs", describe_meta())
    alone = Record(tmp_path / "alone", describe_meta())
    for kept, frames in ((own, [exact.frame, genre, genre]), (alone, [exact.frame])):
        for frame in frames:
            stated = kept.write_examples("ToySTS", Examples("spearman", "pair", frame))
    assert stated["count"] == 20
    files = [one.path.parent / "examples" / "ToySTS.csv.gz" for one in (own, alone)]
    merged, first = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in files)
    assert merged.columns.to_list() == [*first.columns, "genre"]
    assert merged[first.columns].head(20).equals(first)
    assert first["value"].astype(float).nunique() == 20
    assert merged["genre"].to_list() == [""] * 20 + ["news"] * 20


def describe_meta():
    return ModelMeta.create_empty({"name": "org/model", "revision": "1"})


def test_a_caller_can_record_why_examples_are_not_kept(tmp_path, recwarn):
    task, result, _ = close_similarities(tmp_path, score=float("nan"))
    with pytest.raises(CannotStore, match="ToySTS has no values per example.*is not a number"):
        collect_or_raise(task, tmp_path, result)
    nothing = STATISTICS["spearman"](np.ones(5), np.arange(5.0))
    assert np.isnan(nothing) and not recwarn.list


def test_a_task_with_an_error_of_its_own_keeps_none(tmp_path):
    _, tasks = run(tmp_path, "DemoLee")
    assert tasks["DemoLee"]["status"] == "done" and "examples" not in tasks["DemoLee"]


def test_the_same_run_leaves_the_same_bytes(tmp_path):
    files = [
        run(tmp_path / part, "ToySTS")[0].path.parent / "examples" / "ToySTS.csv.gz"
        for part in "ab"
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_task_without_predictions_has_no_examples(tmp_path):
    task = ToySTS()
    assert collect(task, tmp_path, None) is None


def test_the_records_geometry_is_of_the_vectors_that_were_scored(tmp_path):
    _, tasks = run(tmp_path, "ToySTS", "ToyClasses", "ToyPairs")
    measured = tasks["ToySTS"]["geometry"]["test"]["default"]
    assert {"mean_cosine", "effective_rank", "alignment", "centred", "whitened"} <= set(measured)
    assert -1 <= measured["mean_cosine"] <= 1 and measured["effective_rank"] > 1
    assert list(tasks["ToyClasses"]["geometry"]) == ["test"]  # not the training split
    assert "alignment" not in tasks["ToyClasses"]["geometry"]["test"]["default"]
    assert not np.isnan(tasks["ToyPairs"]["geometry"]["test"]["default"]["centred"])
