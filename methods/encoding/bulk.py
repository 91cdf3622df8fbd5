"""Encode the texts of files into shards of vectors: streamed, resumable, by several processes.

Shards are cut by row number, and a shard is encoded in chunks that its rows alone decide, so the
same command gives the same bytes whoever encodes which shard, and however often it was stopped.
Each process takes the next shard that nobody has, and waits at the end for shards that others are
writing, to take over those of a process that dies.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from methods.base import PromptType
from methods.data.texts import TextFiles, TextRow
from methods.encoding.encoder import Encoder
from methods.encoding.plan import (
    BadRows,
    check_rows,
    describe_file,
    read_dropped,
    refuse_filled,
    refuse_other,
)
from methods.encoding.shards import ShardFolder, save_once

log = logging.getLogger(__name__)
CHUNK_ROWS = 8192  # encoded at once, sorted by length
CHUNK_CHARACTERS = 8 << 20  # of their texts together
WAIT_SECONDS = 1.0


@dataclass
class BulkJob:
    """Texts, the encoder, and where its vectors go. `run` encodes what is not there yet.

    about: what decides the vectors, as the manifest states it; a folder made with anything else is
        refused. made_with: what may differ between runs of one output; stated, and not compared.
    make_encoder: loads the model, when the first shard is claimed.
    """

    texts: TextFiles
    out: ShardFolder
    about: Mapping[str, Any]
    make_encoder: Callable[[], Encoder]
    side: PromptType | None = "document"
    instruction: str | None = None
    shard_rows: int = 50_000
    bad_rows: BadRows = "error"
    made_with: Mapping[str, Any] = field(default_factory=dict)
    _encoder: Encoder | None = field(default=None, init=False)
    _dropped: frozenset[int] = field(default=frozenset(), init=False)

    def run(self) -> dict[str, Any]:
        """Encode every shard that is not done; return the manifest.

        Raises ValueError for rows that cannot be encoded, before any is, and for a folder that
        holds something else.
        """
        with self.out.lock():
            manifest = self._open()
        self._dropped = read_dropped(self.out.folder)
        todo = [n for n, rows in enumerate(manifest["shards_rows"]) if rows]
        done = sum(manifest["shards_rows"][n] for n in todo if self.out.is_done(n))
        total = sum(manifest["shards_rows"])
        if done:
            log.info("%s: %d of %d rows are encoded", self.out.folder, done, total)
        with tqdm(total=total, initial=done, unit="text", desc="encode", smoothing=0.1) as bar:
            while missing := [number for number in todo if not self.out.is_done(number)]:
                if not self._encode_free(missing, manifest, bar):
                    time.sleep(WAIT_SECONDS)  # others are writing what is left
                    bar.n = total - sum(manifest["shards_rows"][n] for n in missing)
                    bar.refresh()
        with self.out.lock():
            return self._record_done(self.out.read_manifest())

    def _open(self) -> dict[str, Any]:
        """Return the manifest, checked, or written after all rows were. Needs the folder's lock."""
        inputs = [describe_file(file) for file in self.texts.files]
        about = {"input": inputs, **self.about}
        manifest = self.out.read_manifest()
        if manifest:
            refuse_other(manifest, about, self.out.folder)
            if manifest["made_with"].get("engine") != self.made_with.get("engine"):
                log.warning(
                    "%s was begun by another version of the engine; the last digits of vectors may "
                    "differ between shards",
                    self.out.folder,
                )
            return manifest
        refuse_filled(self.out.folder)
        rows = check_rows(
            self.texts, self.out.folder, shard_rows=self.shard_rows, bad_rows=self.bad_rows
        )
        manifest = {"schema": 1, **about, **rows, "made_with": dict(self.made_with)}
        manifest |= {"vectors": None, "shards": {}}
        self.out.write_manifest(manifest)
        return manifest

    def _encode_free(self, missing: list[int], manifest: Mapping[str, Any], bar: Any) -> bool:
        """Encode the missing shards that nobody else is writing, in one pass over the rows; return
        whether there was one."""
        rows, position, found = None, 0, False
        for number in missing:
            with self.out.claim(number) as claimed:
                if not claimed:
                    continue
                encoder = self._load_encoder()
                rows = self.texts.rows() if rows is None else rows
                start = number * self.shard_rows
                own = islice(rows, start - position, start - position + self.shard_rows)
                position, found = start + self.shard_rows, True
                self._encode_shard(number, own, encoder, manifest, bar)
            with self.out.lock():
                self._record_done(self.out.read_manifest())
        return found

    def _encode_shard(
        self,
        number: int,
        rows: Iterator[TextRow],
        encoder: Encoder,
        manifest: Mapping[str, Any],
        bar: Any,
    ) -> None:
        count, start = manifest["shards_rows"][number], time.perf_counter()
        before = encoder.shared.usage.tokens
        with self.out.open_writer(number, rows=count, id_type=manifest["id_type"]) as writer:
            for chunk in _cut_chunks(row for row in rows if row.number not in self._dropped):
                writer.write([row.id for row in chunk], self._encode_chunk(chunk, encoder))
                tokens = encoder.shared.usage.tokens - before
                speed = tokens / (time.perf_counter() - start)
                bar.set_postfix_str(f"{speed:,.0f} tokens/s", refresh=False)
                bar.update(len(chunk))
        file, seconds = self.out.find_shard(number).name, time.perf_counter() - start
        tokens = encoder.shared.usage.tokens - before
        message = "%s: %d texts, %d tokens, %.0f tokens/s"
        log.info(message, file, count, tokens, tokens / seconds)

    def _encode_chunk(self, chunk: list[TextRow], encoder: Encoder) -> np.ndarray:
        """Return the vectors of rows. A ValueError about a text names its row."""
        texts = [row.text for row in chunk]
        try:
            return encoder.encode(texts, prompt_type=self.side, instruction=self.instruction)
        except ValueError as error:
            if named := re.match(r"text (\d+)\b", str(error)):
                place = chunk[int(named[1])].place
                raise ValueError(f"{place}: {str(error).replace(named[0], 'it', 1)}") from error
            raise

    def _load_encoder(self) -> Encoder:
        """Return the encoder, with the ranges that the first process measured."""
        if self._encoder is None:
            encoder = self.make_encoder()
            if encoder.post.is_fitted:
                with self.out.lock():
                    file = self.out.folder / "ranges.npy"
                    encoder.ranges = save_once(file, encoder.measure_ranges)
            self._encoder = encoder
        return self._encoder

    def _record_done(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Add the shards that are done to the manifest. Needs the folder's lock."""
        numbers = [n for n, rows in enumerate(manifest["shards_rows"]) if rows]
        new = [
            n
            for n in numbers
            if self.out.is_done(n) and self.out.find_shard(n).name not in manifest["shards"]
        ]
        for number in new:
            stated = {"rows": manifest["shards_rows"][number], **self.out.describe_shard(number)}
            manifest["shards"][self.out.find_shard(number).name] = stated
        manifest["shards"] = dict(sorted(manifest["shards"].items()))
        if manifest["vectors"] is None and manifest["shards"]:
            manifest["vectors"] = self.out.describe_vectors(new[0])
        if new:
            self.out.write_manifest(manifest)
        return manifest


def _cut_chunks(rows: Iterator[TextRow]) -> Iterator[list[TextRow]]:
    """Yield rows in lists of at most CHUNK_ROWS and, beyond one, CHUNK_CHARACTERS."""
    chunk: list[TextRow] = []
    characters = 0
    for row in rows:
        if chunk and (len(chunk) == CHUNK_ROWS or characters + len(row.text) > CHUNK_CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(row)
        characters += len(row.text)
    if chunk:
        yield chunk
