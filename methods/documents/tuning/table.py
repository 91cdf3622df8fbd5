"""Write the table of a training on documents: metrics, differences to zero-shot, seconds."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.statistics import resample
from methods.backbone.loader import identify_backbone
from methods.documents.tuning.material import describe_material
from methods.documents.tuning.questions import QuestionSet
from methods.documents.tuning.retrieval_metrics import MAIN, METRICS, score_rankings
from methods.documents.tuning.row import ZERO_SHOT, Row
from methods.identity import digest
from methods.provenance import describe_environment, format_command, make_portable
from methods.records import read_json, write_atomically
from methods.training.stored_settings import describe_settings

if TYPE_CHECKING:
    from methods.documents.tuning.job import TuningJob

log = logging.getLogger(__name__)
SHOWN = ("hit@1", "hit@5", "hit@10", "mrr@10", "recall@10", "ndcg@10", "map@100")
NAMES = {"mrr@10": "MRR@10", "ndcg@10": "nDCG@10", "map@100": "MAP@100"}


def tabulate_scores(sets: Sequence[QuestionSet], rows: Sequence[Row]) -> pd.DataFrame:
    """Return every metric of each question in each row: set, row, question, METRICS in 0 to 1."""
    found = []
    for one in sets:
        for row in rows:
            scores = score_rankings(row.ranked[one.name], one.relevant)
            found += [
                {"set": one.name, "row": row.name, "question": id, **values}
                for id, values in scores.items()
            ]
    return pd.DataFrame(found)


def compare_rows(scores: pd.DataFrame, rows: Sequence[Row], *, seed: int = 0) -> pd.DataFrame:
    """Return the means x 100 of each set and row, and the difference in nDCG@10 to zero-shot.

    low, high: its 95 % interval by a paired bootstrap over questions, whose seed is given.
    """
    found = []
    for name, own in scores.groupby("set", sort=False):
        parts = {key: part.reset_index(drop=True) for key, part in own.groupby("row", sort=False)}
        examples = {
            key: pd.DataFrame({"example": part["question"], "value": 100 * part[MAIN]})
            for key, part in parts.items()
        }
        drawn = resample(examples, statistic="mean", seed=seed)
        for row in rows:
            means = 100 * parts[row.name][list(METRICS)].mean()
            line = {"set": name, "row": row.name, "questions": len(parts[row.name]), **means}
            if row.name != ZERO_SHOT:
                gap = drawn.subtract(row.name, ZERO_SHOT)
                line |= {"difference": gap.estimate, "low": gap.low, "high": gap.high}
                line |= {"p_value": gap.p_value}
            found.append({**line, "seconds": row.seconds, "note": row.note})
    return pd.DataFrame(found)


def format_table(table: pd.DataFrame, sets: Sequence[QuestionSet], notes: Sequence[str]) -> str:
    """Return the table in Markdown: a part for each set of questions, and notes."""
    parts = []
    for one in sets:
        own = table[table["set"] == one.name]
        shown = pd.DataFrame({"row": own["row"]})
        for metric in SHOWN:
            shown[NAMES.get(metric, metric)] = own[metric].map("{:.1f}".format)
        shown["to zero-shot, nDCG@10"] = [_format_difference(row) for row in own.to_dict("records")]
        shown["seconds"] = own["seconds"].map("{:.1f}".format)
        title = f"**{one.name}**: {one.about}; {len(one.queries)} questions over {len(one.corpus)}"
        body = shown.to_markdown(index=False, disable_numparse=True)
        parts.append(f"{title} passages\n\n{body}")
    return "\n\n".join([*parts, *notes]) + "\n"


def _format_difference(row: dict[Any, Any]) -> str:
    if pd.isna(row.get("difference")):
        return ""
    return f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"


def write_table(job: TuningJob, rows: Sequence[Row]) -> pd.DataFrame:
    """Write the table, the scores of every question and the record into the job's folder."""
    sets = job.material.sets
    scores = tabulate_scores(sets, rows)
    table = compare_rows(scores, rows)
    record = describe_run(job, rows, table)
    text = format_table(table, sets, write_notes(job, rows, record))
    packed = gzip.compress(scores.to_csv(index=False).encode(), mtime=0)
    write_atomically(job.folder / "scores.csv.gz", packed)
    write_atomically(job.folder / "table.csv", table.to_csv(index=False))
    write_atomically(job.folder / "table.md", text)
    line = json.dumps(record, indent=2, ensure_ascii=False, default=str)
    write_atomically(job.folder / "record.json", line + "\n")  # the last: then all is there
    log.info("%s\n\n%s", job.folder / "table.md", text)
    return table


def write_notes(job: TuningJob, rows: Sequence[Row], record: dict[str, Any]) -> list[str]:
    """Return the paragraphs below the table: what was split, trained on and chosen."""
    material, settings = job.material, job.settings
    sizes = record["split"]["passages"]
    by = {
        "documents": "Documents were split",
        "sections": "Contiguous sections of each document were held out (few documents)",
        "nothing": "All documents are held out",
    }[material.split.by]
    pairs = ", ".join(f"{number} {name}" for name, number in record["pairs"].items())
    about = (
        f"{by}: {sizes['training']} passages for training, {sizes['heldout']} held out; all are "
    )
    about += f"searched. Trained on {pairs}"
    if settings.cloze_from == "all":
        about += " (cloze pairs of ALL documents, the held-out ones too, without their questions)"
    validation = record["validation_scores"]
    questions = "questions of training documents"
    if material.split.by == "nothing":
        questions = "pairs that were set aside"
    about += ". Checkpoint, and rate and steps of the query adapter, were chosen on "
    about += f"{record['validation']} {questions}, of whose passages no pair was trained "
    about += f"on (nDCG@10 there: zero-shot {100 * validation['zero_shot']:.1f}"
    if validation["fine_tuned"] is not None:
        about += f", fine-tuned {100 * validation['fine_tuned']:.1f}"
        if validation["fine_tuned"] <= validation["zero_shot"]:
            about += "; **training did not help there, so keep the zero-shot model**"
    about += ")."
    notes = "; ".join(f"{row.name}: {row.note}" for row in rows if row.note)
    legend = (
        "Scores x 100. hit@k: LlamaIndex' hit rate. Brackets: 95 % interval of the difference by a "
        "paired bootstrap over questions; seed variance is not included. Seconds: to make the row, "
        "its training included."
    )
    if material.split.by == "sections" or settings.cloze_from == "all":
        legend += " Training and held-out text are of the same documents."
    made = f"`{record['command']}`, {record['date'][:10]}, commit {record['commit']}, "
    made += f"{record['model']['name']}, {record['model']['dtype']}, seed {record['seed']}, "
    return [about, f"{legend} {notes}.", f"{made}{record['processor']}."]


def describe_run(job: TuningJob, rows: Sequence[Row], table: pd.DataFrame) -> dict[str, Any]:
    """Return the record: documents, training, rows, command, versions.

    group: of trainings that differ in their seed alone.
    """
    training = read_json(job.train.folder / "training.json")
    settings = describe_settings(job.train)["decides"]
    settings["run"] = {k: v for k, v in settings["run"].items() if k != "seed"}
    best = training["best"]
    return {
        "schema": 1,
        "key": job.make_key(),
        "group": digest([job.material.digest, settings], 16),
        "command": format_command("train", job.train.overrides, job.train.config_dir),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": job.train.run_options.seed,
        "method": job.train.name,
        "model": identify_backbone(job.train.spec),
        "training": make_portable(str(job.train.folder.resolve() / "training.json")),
        **describe_material(job.material, job.settings),
        "validation_scores": {
            "zero_shot": next(row.before for row in rows if row.name == ZERO_SHOT),
            "fine_tuned": None if best is None else best["score"],
        },
        "rows": {row.name: {"seconds": row.seconds, "note": row.note} for row in rows},
        "scores": {
            name: {row["row"]: row[MAIN] for row in own.to_dict("records")}
            for name, own in table.groupby("set", sort=False)
        },
        **describe_environment(),
    }
