"""Join trainings on documents that differ in their seed alone: means, with intervals of seeds and
questions (analysis/seeds.py)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.seeds import SeedMean, average_seeds
from analysis.statistics import resample
from methods.documents.tuning.retrieval_metrics import MAIN
from methods.documents.tuning.row import BM25, ZERO_SHOT
from methods.records import read_json, write_atomically

log = logging.getLogger(__name__)


def find_groups(runs: Path) -> dict[str, list[Path]]:
    """Return the folders of finished trainings on documents by their group, each sorted by seed."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted(runs.glob("adapters/*/documents/record.json")):
        record = read_json(file)
        found.setdefault(record["group"], []).append((record["seed"], file.parent))
    return {group: [folder for _, folder in sorted(own)] for group, own in found.items()}


def join_seeds(folders: Sequence[Path]) -> pd.DataFrame:
    """Return a mean over seeds for each set and row: nDCG@10, and its difference to zero-shot.

    folders: documents/ of trainings of one group. spread: standard deviation of single seeds;
    margin: half of the 95 % interval, of seeds and questions.
    """
    scores = {}
    for folder in folders:
        seed = read_json(folder / "record.json")["seed"]
        scores[seed] = pd.read_csv(folder / "scores.csv.gz", dtype={"question": str})
    first = next(iter(scores.values()))
    found = []
    for name in first["set"].unique():
        for row in first["row"].unique():
            own = {seed: _select(part, name, row) for seed, part in scores.items()}
            zero = {seed: _select(part, name, ZERO_SHOT) for seed, part in scores.items()}
            line: dict[str, Any] = {"set": name, "row": row, "questions": len(own[next(iter(own))])}
            line |= _describe(average_questions(own), "")
            if row != ZERO_SHOT:
                gaps = {seed: own[seed] - zero[seed] for seed in own}
                line |= _describe(average_questions(gaps), "difference_")
            found.append(line)
    return pd.DataFrame(found)


def average_questions(values: Mapping[int, pd.Series]) -> SeedMean:
    """Return the mean over seeds of values of the same questions, with its interval."""
    means = pd.Series({seed: own.mean() for seed, own in values.items()})
    examples = {
        seed: pd.DataFrame({"example": own.index, "value": own.to_numpy()})
        for seed, own in values.items()
    }
    return average_seeds(means, list(means.index), resample(examples, statistic="mean"))


def write_seed_tables(runs: Path) -> list[Path]:
    """Write the joint table of every group of two seeds or more; return the files."""
    written = []
    for group, folders in find_groups(runs).items():
        if len(folders) < 2:
            continue
        record = read_json(folders[0] / "record.json")
        (place,) = {*runs.glob(f"documents/*_{record['digest']}")} or {runs / "documents"}
        table, name = join_seeds(folders), f"seeds_{record['method']}_{group[:8]}"
        write_atomically(place / f"{name}.csv", table.to_csv(index=False))
        text = format_joint_table(table, record, [_read_seed(folder) for folder in folders])
        write_atomically(place / f"{name}.md", text)
        log.info("%s\n\n%s", place / f"{name}.md", text)
        written.append(place / f"{name}.md")
    return written


def format_joint_table(table: pd.DataFrame, record: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """Return the joint table in Markdown."""
    shown = pd.DataFrame({"questions": table["set"], "row": table["row"]})
    shown["nDCG@10"] = [_format(row, "") for row in table.to_dict("records")]
    shown["SD of seeds"] = [
        "" if row["row"] in (BM25, ZERO_SHOT) else f"{row['spread']:.2f}"
        for row in table.to_dict("records")
    ]
    shown["to zero-shot"] = [_format(row, "difference_") for row in table.to_dict("records")]
    about = (
        f"nDCG@10 x 100 of {record['method']} on {record['model']['name']}, mean over the seeds "
        f"{', '.join(map(str, seeds))}; ± is half of the 95 % interval, of seeds (t) and of "
        f"questions (paired bootstrap). The split is the same for all seeds."
    )
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{about}\n"


def _select(scores: pd.DataFrame, name: str, row: str) -> pd.Series:
    own = scores[(scores["set"] == name) & (scores["row"] == row)]
    return 100 * own.set_index("question")[MAIN]


def _describe(one: SeedMean, prefix: str) -> dict[str, float]:
    values = {"mean": one.mean, "spread": one.spread, "margin": one.margin}
    return {f"{prefix}{key}": value for key, value in values.items()}


def _format(row: Mapping[Any, Any], prefix: str) -> str:
    mean, margin = row[f"{prefix}mean"], row[f"{prefix}margin"]
    if math.isnan(mean):
        return ""
    return f"{mean:{'+' if prefix else ''}.1f} ± {margin:.1f}"


def _read_seed(folder: Path) -> int:
    return read_json(folder / "record.json")["seed"]
