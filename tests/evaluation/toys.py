"""Toy tasks of mteb's own classes, and jobs on them: whole, broken, and with wrong data."""

import json

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS

from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.evaluation.demo_tasks import make_metadata
from methods.evaluation.job import Job

SENTENCES = ["a dog runs", "a cat sleeps", "the sun is hot", "ice is cold", "we eat bread"]


class ToySTS(AbsTaskSTS):
    metadata = make_metadata("ToySTS", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org")
    shift = 0.0

    def load_data(self, num_proc=None, **kwargs):
        pairs = [(a, b) for a in SENTENCES for b in SENTENCES if a != b]
        data = {
            "sentence1": [a for a, _ in pairs],
            "sentence2": [b for _, b in pairs],
            "score": [float(len(a) % 5) + self.shift for a, _ in pairs],
        }
        self.dataset = {"default": DatasetDict({"test": Dataset.from_dict(data)})}
        self.data_loaded = True


class Broken(ToySTS):
    metadata = make_metadata("Broken", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org")

    def _evaluate_subset(self, *args, **kwargs):
        raise RuntimeError("the disk caught fire")


class Full(ToySTS):
    metadata = make_metadata("Full", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org")

    def _evaluate_subset(self, *args, **kwargs):
        raise OSError("no space left; give another folder")


class Unreadable(ToySTS):
    metadata = make_metadata(
        "Unreadable", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org"
    )

    def load_data(self, num_proc=None, **kwargs):
        raise KeyError("no such column")


class WrongColumns(ToySTS):
    metadata = make_metadata(
        "WrongColumns", "STS", "cosine_spearman", "Find it", "toy", "https://x.org"
    )

    def load_data(self, num_proc=None, **kwargs):
        rows = Dataset.from_dict({"premise": ["a"], "hypothesis": ["b"], "score": [1.0]})
        self.dataset = {"default": DatasetDict({"test": rows})}
        self.data_loaded = True


def make_job(runs, *overrides, tasks=("ToySTS",), **more):
    config = compose(["method=sgpt", "model=tiny", "model.dtype=float32", *overrides])
    name = next((o.split("=")[1] for o in overrides if o.startswith("method=")), "sgpt")
    return Job(resolve_evaluation(config, name=name), TaskList(names=tasks, **more), runs)


def read_record(job, cell=0):
    return json.loads(job.records[cell].path.read_text())
