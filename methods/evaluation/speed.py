"""Count the tokens that a model would compute, and measure how fast it does on a part of them.

A group is one side of a task. Its rows that are neither equal to another nor cached are computed,
in the batches of the real run; the prefix that all of them share is computed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import commonprefix
from typing import Any

from methods.backbone.batches import make_batches
from methods.backbone.hardware import measure_peak_memory, reset_peak_memory
from methods.backbone.loader import Backbone
from methods.backbone.packed_batch import SHORTEST_PREFIX
from methods.backbone.structure import read_window
from methods.base import Inputs, Method
from methods.encoding.call import Usage
from methods.encoding.chunks import split_kinds
from methods.encoding.embedder import Embedder
from methods.encoding.vector_keys import make_row_keys
from methods.evaluation.dry_run import Side

LIMIT = 20.0  # seconds of measuring, about
TEXTS, BATCHES = 300, 4  # that a group is measured on, the more of both, where time allows
FEWEST = 32  # rows without which no batch is measured


class CacheReader(Embedder):
    """An embedder whose store can be asked what it has."""

    def select_missing(self, keys: Sequence[bytes], places: Sequence[int]) -> list[bytes]:
        """Return the keys of rows that some of these cells has no vector of."""
        if self.store is None:
            return list(keys)
        missing: list[bytes] = []
        for first in range(0, len(keys), 1000):
            part = keys[first : first + 1000]
            lost = {
                key
                for place in {read for cell in places for read in self.by_cell[cell]}
                for key, vector in zip(
                    part, self.store.get([self._keys[place] + key for key in part]), strict=True
                )
                if vector is None
            }
            missing += [key for key in part if key in lost]
        return missing


@dataclass(frozen=True, kw_only=True)
class Group:
    """The rows of one side that would be computed.

    texts, tokens: of the whole side. inputs: the rows to compute, or a sample of them. scale: how
    many there are for each. seconds: of tokenizing the whole side once. exact: no sample.
    prefix: tokens that all rows share and that are computed once.
    """

    texts: int
    tokens: float
    inputs: Inputs
    scale: float
    seconds: float
    exact: bool
    prefix: int = 0

    @cached_property
    def own(self) -> list[int]:
        """Return each row's tokens behind the prefix."""
        return [len(ids) - self.prefix for ids in self.inputs.ids]

    @cached_property
    def computed(self) -> float:
        """Return the tokens to compute."""
        return sum(self.own) * self.scale + self.prefix

    def count_passes(self, batch_tokens: int, *, packed: bool) -> int:
        """Return the number of forward passes."""
        batches = sum(1 for _ in make_batches(self.own, batch_tokens, packed=packed))
        return math.ceil(batches * self.scale) + (self.prefix > 0)


def make_groups(
    side: Side,
    method: Method,
    tokenizer: Any,
    *,
    known: set[bytes],
    reader: CacheReader | None,
    places: Sequence[int],
) -> list[Group]:
    """Tokenize the texts of a side as the method does, and leave out what is not computed.

    A method of several rows a text has a group of each kind of row, where these are computed apart.

    known: keys of rows of earlier groups, to which those of this one are added. reader: None where
    the model is not loaded, and nothing is known of the cache. places: the cells that need vectors.
    """
    start = time.perf_counter()
    inputs = method.prepare_inputs(
        side.kept, tokenizer=tokenizer, prompt_type=side.side, instruction=side.instruction
    )
    seconds = time.perf_counter() - start
    rows = {key: row for row, key in enumerate(make_row_keys(inputs, method))}
    new = [key for key in rows if key not in known]
    known |= rows.keys()
    if reader is not None:
        new = reader.select_missing(new, places)
    chosen = [rows[key] for key in new]
    each, parts = side.texts / len(side.kept), split_kinds(chosen, method.rows_per_text)
    first = Group(
        texts=side.texts,
        tokens=each * sum(map(len, inputs.ids)),
        inputs=inputs.rows([chosen[place] for place in parts[0]]),
        scale=1.0 if side.whole else len(side.different) / len(side.kept),
        seconds=each * seconds,
        exact=side.whole,
    )
    others = [inputs.rows([chosen[place] for place in part]) for part in parts[1:]]
    groups = [first, *(replace(first, texts=0, tokens=0, seconds=0, inputs=o) for o in others)]
    if reader is None:
        return groups
    if method.sites:  # no prefix is shared
        return groups
    prefixes = [find_prefix(reader.backbone, g.inputs.ids, method.attention) for g in groups]
    return [replace(g, prefix=prefix) for g, prefix in zip(groups, prefixes, strict=True)]


def find_prefix(backbone: Backbone, ids: Sequence[list[int]], attention: Any) -> int:
    """Return the tokens of the shared prefix that `forward` would compute once."""
    if attention != "causal" or attention not in backbone.packed or len(ids) < 2:
        return 0
    shared = len(commonprefix([min(ids), max(ids)]))
    length, longest = min(shared, min(map(len, ids)) - 1), max(map(len, ids))
    window = read_window(backbone.model)
    return 0 if length < SHORTEST_PREFIX or (window and longest > window) else length


@dataclass(frozen=True)
class Speed:
    """What was measured. rates: of each measured group the mean length of its rows, and tokens a
    second. memory: peak bytes: of the device on CUDA, else of the process."""

    rates: list[tuple[float, float]]
    texts: int
    tokens: int
    seconds: float
    memory: float

    def predict(self, group: Group) -> float:
        """Return the seconds that a group takes, by the measured group most like it in length."""
        if not group.own:
            return 0.0
        mean = sum(group.own) / len(group.own)
        _, rate = min(self.rates, key=lambda one: abs(math.log(one[0] / mean)))
        return group.computed / rate


def measure_speed(backbone: Backbone, cells: Sequence[Method], groups: Sequence[Group]) -> Speed:
    """Compute rows of the largest groups as the real run does, for about LIMIT seconds."""
    device = backbone.choices["device"]
    embedder = Embedder(backbone, cells)
    reset_peak_memory(device)
    start, rates, texts, tokens, seconds = time.perf_counter(), [], 0, 0, 0.0
    speed = _warm_up(embedder, max(groups, key=lambda group: max(group.own)))
    for group in sorted(groups, key=lambda group: -group.computed):
        if rates and time.perf_counter() - start > LIMIT:
            break
        rows = _draw_rows(group, speed, backbone.batch_tokens)
        embedder.usage = Usage()
        embedder.compute_rows(group.inputs.rows(rows), title="measuring")
        own, spent = sum(group.own[row] for row in rows), embedder.usage.seconds
        speed = own / spent
        rates.append((sum(group.own) / len(group.own), speed))
        texts, tokens, seconds = texts + len(rows), tokens + own, seconds + spent
    memory = measure_peak_memory(device) * 2**20
    return Speed(rates, texts, tokens, seconds, memory)


def _warm_up(embedder: Embedder, group: Group) -> float:
    """Compute one batch, of the longest rows that there are; return tokens a second."""
    packed = embedder.cells[0].attention in embedder.backbone.packed
    batch = next(make_batches(group.own, embedder.backbone.batch_tokens, packed=packed))
    embedder.usage = Usage()
    embedder.compute_rows(group.inputs.rows(batch), title="measuring")
    return sum(group.own[row] for row in batch) / embedder.usage.seconds


def _draw_rows(group: Group, speed: float, batch_tokens: int) -> list[int]:
    """Return rows of all lengths, evenly, as many as can be computed in a quarter of LIMIT."""
    order = sorted(range(len(group.own)), key=lambda row: group.own[row])
    mean = sum(group.own) / len(group.own)
    wanted = max(BATCHES * batch_tokens, TEXTS * mean)
    tokens = max(min(wanted, speed * LIMIT / 4), batch_tokens)
    number = min(len(order), max(round(tokens / mean), FEWEST))
    return [order[int((place + 0.5) * len(order) / number)] for place in range(number)]
