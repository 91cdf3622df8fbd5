"""Train on documents, and score every row of the table on questions of the held-out ones.

    FOLDER/                          the adapter or the model, as `dec2vec train` writes it
    FOLDER/documents/table.md, .csv  the table; every metric in the second
    FOLDER/documents/scores.csv.gz   every metric of every question in every row
    FOLDER/documents/rows/NAME.json.gz    the rankings of a row, a hundred documents a question
    FOLDER/documents/query_adapter.npz    the matrix of the query adapter
    FOLDER/documents/record.json     what all was made from, with seconds and versions

A row that is stored is not scored again, unless the documents, the questions or what it ranks with
have changed; so the same command resumes.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from methods.backbone.hardware import resolve_device
from methods.backbone.loader import identify_backbone
from methods.documents.tuning.baselines import (
    open_reference,
    rank_bm25,
    rank_sets,
    remember_vectors,
)
from methods.documents.tuning.encoders import (
    fit_query_adapter,
    identify_reference,
    open_encoder,
    validate,
)
from methods.documents.tuning.material import Material
from methods.documents.tuning.query_adapter import QueryAdapter
from methods.documents.tuning.row import ADAPTED, BM25, TUNED, ZERO_SHOT, Row
from methods.documents.tuning.settings import DocumentsSettings, Reference
from methods.documents.tuning.table import write_table
from methods.identity import digest
from methods.records import read_json, write_atomically
from methods.training.job import TrainJob
from methods.training.stored_settings import describe_settings, refuse_other_settings

log = logging.getLogger(__name__)


@dataclass
class TuningJob:
    """A training on documents with its table. `run` makes what the folder lacks.

    train: the training, on the pairs of `shared`, which is the folder of the documents' files.
    """

    train: TrainJob
    material: Material
    settings: DocumentsSettings
    shared: Path

    @property
    def folder(self) -> Path:
        """Where the table and its rows lie, beside what was trained."""
        return self.train.folder / "documents"

    @property
    def is_finished(self) -> bool:
        """Whether the record states these documents and this training."""
        file = self.folder / "record.json"
        if not file.is_file() or not (self.train.folder / "training.json").is_file():
            return False
        stated = read_json(file)
        return stated.get("key") == self.make_key()

    def make_key(self) -> str:
        """Return a digest of all that decides the table."""
        references = [identify_reference(one) for one in self.settings.reference]
        settings = describe_settings(self.train)["decides"]
        return digest([self.material.digest, settings, references], 16)

    def run(self) -> Path:
        """Score, train, score and write the table; return the training's folder."""
        refuse_other_settings(self.train.folder, describe_settings(self.train))
        if self.is_finished:
            log.info("%s is trained and scored already", self.train.folder)
            return self.train.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = [self._complete(BM25, "", self._rank_bm25)]
        rows += self._score_untrained()
        rows += [
            self._complete(one.title, identify_reference(one), partial(self._rank_reference, one))
            for one in self.settings.reference
        ]
        rows.insert(3, self._train_and_score())
        write_table(self, rows)
        return self.train.folder

    def _complete(self, name: str, identity: str, make: Callable[[], Row]) -> Row:
        """Return a row as it is stored, or make and store it."""
        key = digest([self.material.digest, identity], 16)
        if (row := self._read_row(name, key)) is None:
            log.info("%s", name)
            self._write_row(row := make(), key)
        return row

    def _find_row_file(self, name: str) -> Path:
        plain = "".join(char if char.isalnum() or char in "-_." else "_" for char in name)
        return self.folder / "rows" / f"{plain}.json.gz"

    def _read_row(self, name: str, key: str) -> Row | None:
        file = self._find_row_file(name)
        if not file.is_file():
            return None
        stored = json.loads(gzip.decompress(file.read_bytes()))
        return Row(**stored["row"]) if stored["key"] == key else None

    def _write_row(self, row: Row, key: str) -> None:
        content = json.dumps({"key": key, "row": asdict(row)}, ensure_ascii=False).encode()
        write_atomically(self._find_row_file(row.name), gzip.compress(content, mtime=0))

    def _rank_bm25(self) -> Row:
        begun = time.perf_counter()
        ranked = {one.name: rank_bm25(one) for one in self.material.sets}
        return Row(BM25, ranked, _measure(begun))

    def _rank_reference(self, reference: Reference) -> Row:
        begun = time.perf_counter()
        device = resolve_device(self.train.spec.device)
        ranked = rank_sets(self.material.sets, open_reference(reference, device=device))
        return Row(reference.title, ranked, _measure(begun), reference.url or "")

    def _score_untrained(self) -> list[Row]:
        """Return the rows of the model as it is: its own vectors, and those of adapted queries."""
        identity = digest([identify_backbone(self.train.spec), describe_settings(self.train)], 16)
        key = digest([self.material.digest, identity], 16)
        stored = [self._read_row(name, key) for name in (ZERO_SHOT, ADAPTED)]
        if all(row is not None for row in stored):
            return [row for row in stored if row is not None]
        encode = remember_vectors(open_encoder(self.train, trained=False))
        log.info(ZERO_SHOT)
        begun = time.perf_counter()
        ranked = rank_sets(self.material.sets, encode)
        seconds = _measure(begun)
        before = validate(self.material.pairs.validation, encode)
        zero = Row(ZERO_SHOT, ranked, seconds, before=before)
        log.info(ADAPTED)
        begun = time.perf_counter()
        adapter = fit_query_adapter(self.material, encode)
        self._write_adapter(adapter)
        fitted = _measure(begun)
        ranked = rank_sets(self.material.sets, encode, adapt=adapter.apply)
        adapted = Row(ADAPTED, ranked, round(fitted + seconds, 1), adapter.describe())
        for row in (zero, adapted):
            self._write_row(row, key)
        return [zero, adapted]

    def _write_adapter(self, adapter: QueryAdapter) -> None:
        stream = io.BytesIO()
        np.savez(stream, matrix=adapter.matrix_DD)
        write_atomically(self.folder / "query_adapter.npz", stream.getvalue())

    def _train_and_score(self) -> Row:
        folder = self.train.run()
        training = read_json(folder / "training.json")
        identity = digest([training["engine"], training["loss"], training["seconds"]], 16)

        def make() -> Row:
            encode = open_encoder(self.train, trained=True)
            begun = time.perf_counter()
            ranked = rank_sets(self.material.sets, encode)
            note = f"{training['steps']} steps"
            if training["best"] is not None:
                note = f"step {training['best']['step']} of {training['steps']}"
            return Row(TUNED, ranked, round(_measure(begun) + training["seconds"], 1), note)

        return self._complete(TUNED, identity, make)


def _measure(begun: float) -> float:
    return round(time.perf_counter() - begun, 2)
