"""Cut the texts of a call into chunks, so that one is prepared while the device computes another.

A CPU gets all texts in one chunk: there the model and the tokenizer share the cores, so nothing
would be gained, and one plan over all rows gives the same batches, to the last bit, however the
texts came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from methods.backbone.loader import Backbone
from methods.base import Inputs

T = TypeVar("T")
CHARACTERS = 4  # of a token, about: a chunk is cut before its tokens are known
BATCHES = 2  # of a chunk, about
FEWEST = 8  # rows of a kind that are worth passes of their own


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some texts of a call. places: which of its texts they are. inputs: their rows, those of a
    text side by side. share: of all characters."""

    places: Sequence[int]
    inputs: Inputs
    share: float = 1.0

    def check_ids(self, number: int, name: str) -> None:
        """Raise ValueError, naming text and method, for a token id that is not 0 ... number - 1."""
        for row, ids in enumerate(self.inputs.ids):
            if not 0 <= min(ids) <= max(ids) < number:
                place = self.places[row * len(self.places) // len(self.inputs)]
                raise ValueError(
                    f"{name}.prepare_inputs gives text {place} the token id "
                    f"{next(i for i in ids if not 0 <= i < number)}; this model has ids 0 to "
                    f"{number - 1}: take ids from the tokenizer it is handed"
                )


def find_chunk_size(backbone: Backbone) -> int | None:
    """Return the characters of a chunk, or None where all texts are one."""
    if backbone.choices["device"] == "cpu":
        return None
    return BATCHES * CHARACTERS * backbone.batch_tokens


def cut_texts(texts: Sequence[str], characters: int | None) -> list[Sequence[int]]:
    """Return the places of texts in chunks of about so many characters, longest texts first.

    None: all in one chunk, in the order given. Texts of a chunk are of about one length, so that
    its batches are nearly those of one plan over all rows.
    """
    if characters is None or sum(map(len, texts)) <= characters:
        return [range(len(texts))]
    chunks: list[list[int]] = [[]]
    total = 0
    for place in sorted(range(len(texts)), key=lambda place: -len(texts[place])):
        if total > characters:
            chunks.append([])
            total = 0
        chunks[-1].append(place)
        total += len(texts[place]) + CHARACTERS
    return [*chunks]


def split_kinds(rows: Sequence[int], kinds: int) -> list[list[int]]:
    """Return the places of rows, apart for the first, second, ... row of each text.

    Rows of a kind are of one template, so that what they begin with is computed once. Few rows are
    left together: a pass of each kind would cost more.
    """
    places = range(len(rows))
    if kinds == 1 or len(rows) < FEWEST * kinds:
        return [list(places)]
    found = [[place for place in places if rows[place] % kinds == kind] for kind in range(kinds)]
    return [one for one in found if one]


def hold_back(steps: Iterable[T], number: int, counts: Callable[[T], bool]) -> Iterator[T]:
    """Yield steps in order, each after `number` more of those that count were begun.

    After an error those that were begun are yielded before it is raised.
    """
    waiting: deque[T] = deque()
    begun = 0
    try:
        for step in steps:
            waiting.append(step)
            begun += counts(step)
            while waiting and (begun > number or not counts(waiting[0])):
                first = waiting.popleft()
                begun -= counts(first)
                yield first
    except Exception:
        yield from waiting
        raise
    yield from waiting
