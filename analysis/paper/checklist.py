"""A reproducibility checklist, answered from the records: yes, partly, no, or not recorded.

An answer is never assumed: each counts what the records hold, and the evidence says what was
counted. The questions are those that venues ask (ACL's checklists for responsible research and
reproducibility), in our words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.paper.evidence import Evidence
from analysis.paper.facts import UNKNOWN, Facts
from analysis.paper.latex import allow_breaks, make_grid
from analysis.paper.settings import PaperSettings
from analysis.paper.training import describe_choice, find_seed
from analysis.render.table import escape


@dataclass(frozen=True)
class Answer:
    """The answer to a question, and what it rests on."""

    answer: str
    evidence: str


def write_checklist(evidence: Evidence, settings: PaperSettings) -> str:
    """Return checklist.tex."""
    facts = Facts(settings.facts)
    rows = []
    for question, answer in QUESTIONS.items():
        found = answer(evidence, facts)
        rows.append([escape(question), escape(found.answer), allow_breaks(found.evidence)])
    caption = "Reproducibility, answered from the records alone."
    grid = make_grid(["question", "answer", "evidence"], rows, caption, "L{5.5cm}L{1.9cm}L{8cm}")
    return f"\\section{{Reproducibility checklist}}\n{grid}"


def count(number: int, of: int, what: str) -> Answer:
    """Return yes, partly or not recorded for something that so many of so many have."""
    if of == 0:
        return Answer("does not apply", f"there are no {what}")
    answer = "yes" if number == of else UNKNOWN if number == 0 else "partly"
    return Answer(answer, f"{number} of {of} {what}")


def _count_records(*path: str, what: str) -> Callable[[Evidence, Facts], Answer]:
    def answer(evidence: Evidence, facts: Facts) -> Answer:
        held = evidence.count(*path)
        found = count(held, len(evidence.records), f"records hold {what}")
        values = [str(value) for value in evidence.values(*path) if not isinstance(value, dict)]
        shown = ": " + ", ".join(values) if 0 < len(values) <= 4 else ""
        return Answer(found.answer, found.evidence + shown)

    return answer


def _count_facts(kind: str, what: str, names: Callable[[Evidence], Sequence[str]]):
    def answer(evidence: Evidence, facts: Facts) -> Answer:
        every = names(evidence)
        held = [name for name in every if facts.find(kind, name, what) != UNKNOWN]
        unstated = [name for name in held if facts.find(kind, name, what) == "not specified"]
        found = count(len(held) - len(unstated), len(every), f"{kind} have a stated {what}")
        lacking = [name for name in every if name not in held]
        text = found.evidence
        text += f"; its source states none for {', '.join(unstated)}" if unstated else ""
        text += f"; {UNKNOWN} for {', '.join(lacking)}" if lacking else ""
        return Answer(found.answer, text)

    return answer


def _list_models(evidence: Evidence) -> list[str]:
    return sorted(set(evidence.cells["model"]))


def _list_tasks(evidence: Evidence) -> list[str]:
    return sorted(set(evidence.done["task"]))


def _count_digests(evidence: Evidence, facts: Facts) -> Answer:
    return count(int(evidence.done["data"].notna().sum()), len(evidence.done), "scores have one")


def _count_examples(evidence: Evidence, facts: Facts) -> Answer:
    runs = evidence.done.drop_duplicates(["folder", "task"])
    kept = int(runs["statistic"].notna().sum())
    found = count(kept, len(runs), "scores kept their examples, which intervals are made of")
    return Answer("no" if found.answer == UNKNOWN else found.answer, found.evidence)


def _count_settings(evidence: Evidence, facts: Facts) -> Answer:
    held = sum(bool(one.recipe) for one in evidence.trainings)
    return count(held, len(evidence.trainings), "trainings have a recorded recipe")


def _describe_choices(evidence: Evidence, facts: Facts) -> Answer:
    every = [describe_choice(one) for one in evidence.trainings]
    if not every:
        return Answer("does not apply", "there are no trainings")
    counts = pd.Series(every).value_counts()
    text = ", ".join(f"{choice} ({number})" for choice, number in counts.items())
    known = sum(choice != UNKNOWN for choice in every)
    return Answer(count(known, len(every), "").answer, text)


def _count_seeds(evidence: Evidence, facts: Facts) -> Answer:
    trainings = evidence.trainings
    if not trainings:
        return Answer("does not apply", "there are no trainings")
    known = [find_seed(one) for one in trainings if find_seed(one) != UNKNOWN]
    counts = pd.Series(known, dtype=str).value_counts().sort_index()
    text = ", ".join(f"seed {seed} ({number})" for seed, number in counts.items())
    answer = "yes" if len(counts) > 1 else "no" if known else UNKNOWN
    return Answer(answer, f"{text or UNKNOWN}; of {len(trainings)} trainings")


def _count_training_cost(evidence: Evidence, facts: Facts) -> Answer:
    held = sum({"seconds", "tokens"} <= set(one.stated) for one in evidence.trainings)
    return count(held, len(evidence.trainings), "trainings have seconds and tokens")


def _count_seconds(evidence: Evidence, facts: Facts) -> Answer:
    runs = evidence.done.drop_duplicates(["folder", "task"])
    return count(int(runs["seconds"].notna().sum()), len(runs), "scores have their seconds")


def _measure_energy(evidence: Evidence, facts: Facts) -> Answer:
    return Answer("no", "no record holds a measurement; the appendix has an estimate")


def _count_unchanged(evidence: Evidence, facts: Facts) -> Answer:
    stated = [r.get("dirty") for r in evidence.records.values() if r.get("commit")]
    clean = sum(dirty is False for dirty in stated)
    number = len(evidence.records)
    text = f"{len(stated)} of {number} records name a commit, {clean} without changes"
    whole = clean == number > 0
    return Answer("yes" if whole else "partly" if stated else UNKNOWN, text)


def _compare_with_training_data(evidence: Evidence, facts: Facts) -> Answer:
    checked = sum(bool((one.stated.get("data") or {}).get("overlap")) for one in evidence.trainings)
    text = "trainings were compared with the texts of evaluation tasks"
    return count(checked, len(evidence.trainings), text)


def _count_missing(evidence: Evidence, facts: Facts) -> Answer:
    open_ = evidence.frame[evidence.frame["status"] != "done"]
    cells = open_.drop_duplicates(["folder", "task"])
    if cells.empty:
        return Answer("yes", "none failed and none is missing")
    named = ", ".join(sorted(set(cells["task"].astype(str))))
    return Answer("yes", f"{len(cells)} scores failed or are missing, on {named}: dashes in tables")


QUESTIONS: dict[str, Callable[[Evidence, Facts], Answer]] = {
    "Are the weights of each model identified?": _count_records("revision", what="their digest"),
    "Is the number of parameters stated?": _count_facts("models", "parameters", _list_models),
    "Is the licence of each model stated?": _count_facts("models", "licence", _list_models),
    "Is the licence of each data set stated?": _count_facts("tasks", "licence", _list_tasks),
    "Is each evaluated data set identified by its content?": _count_digests,
    "Are templates and every setting of each method recorded?": _count_records(
        "method_config", what="them"
    ),
    "Is the precision of the arithmetic stated?": _count_records("dtype", what="it"),
    "Are all hyper-parameters of each training stated?": _count_settings,
    "Is it stated how checkpoints were chosen?": _describe_choices,
    "Was training repeated with several seeds?": _count_seeds,
    "Do scores have intervals over examples?": _count_examples,
    "Are failed and missing results reported?": _count_missing,
    "Was training data compared with evaluation data?": _compare_with_training_data,
    "Is the machine stated?": _count_records("machine", what="it"),
    "Is the processor stated?": _count_records("processor", what="it"),
    "Is the time of evaluation stated?": _count_seconds,
    "Is the cost of training stated?": _count_training_cost,
    "Was energy measured?": _measure_energy,
    "Are versions of packages stated?": _count_records("versions", what="them"),
    "Is the code's commit stated, without uncommitted changes?": _count_unchanged,
    "Is the command of each result recorded?": _count_records("command", what="it"),
}
