"""Hierarchical Token Prepending: every sentence's last state, put before it and before the text.

Paper: Hierarchical Token Prepending (arXiv 2511.14868). Code: snap-research/HTP.

A row is one placeholder for each sentence at the front, then every sentence behind a placeholder of
its own. What decoder layers `start` to `stop` - 1 read at both of a sentence's placeholders is the
state of the sentence's last token. The vector is the mean over the text, without placeholders.

1. The official code adds tokens `<B-PST>` and `<PST>`, whose rows only layer 0 sees. Here both are
   the tokenizer's blank.
2. The official code finds sentences by spaCy; here they end with . ! or ? before a blank, or with
   the ideographic full stop. As there, a full stop is appended where nothing ends the text.
3. A text of more than `sentences` of them has the rest in its last one, so that placeholders leave
   room for the text.
4. The official code for Qwen2 asserts that there are as many sentences as texts in a batch; the one
   for Mistral was followed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    Places,
    Pooling,
    PromptType,
    Site,
    Span,
    added_by,
    encode_spans,
    eos_ids,
    pool_inputs,
    tokenize,
)

END = re.compile(r"(?<=[.!?])(?=\s)|(?<=。)")


@dataclass(frozen=True, kw_only=True)
class HTP(Method):
    """Hierarchical Token Prepending (arXiv 2511.14868): sentence states before the sentences.

    start, stop: the decoder layers, counted from 0, that read them: start ... stop - 1.
    sentences: the most that have placeholders of their own.
    """

    pooling: Pooling = "mean"
    layer: int = -2
    start: int = 1
    stop: int = 7
    sentences: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.start < self.stop or self.sentences < 1:
            raise ValueError(
                f"start={self.start}, stop={self.stop}, sentences={self.sentences}; valid: "
                f"1 <= start < stop, and one sentence or more"
            )

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(("input", layer) for layer in range(self.start, self.stop))

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        blank = tuple(tokenize([" "], tokenizer=tokenizer)[0][:1]) or eos_ids(tokenizer)
        rows = []
        for text in texts:
            parts = split(text, self.sentences)
            front = Span(blank * len(parts), pooled=False, mark="front")
            pairs = [(Span(blank, pooled=False, mark="slot"), Span(p, cut=True)) for p in parts]
            own = [span for pair in pairs for span in pair]
            rows.append((Span(before, pooled=False), front, *own, Span(after, pooled=False)))
        inputs = encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)
        to, ends = [], []
        for row, ids in enumerate(inputs.ids):
            slots = inputs.marks["slot"][row]
            own = [*(slot - 1 for slot in slots[1:]), len(ids) - len(after) - 1]
            to.append([*inputs.marks["front"][row], *slots])
            ends.append([*own, *own])
        return replace(inputs, marks={"to": to, "ends": ends})

    def steer(self, site: Site, states_TD: Tensor, places: Places) -> Tensor:
        states_TD[places.at("to")] = states_TD[places.at("ends")]
        return states_TD

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)


def split(text: str, most: int) -> list[str]:
    """Return a text's sentences, with the blanks before them, at most so many; none is empty."""
    text = text.rstrip()
    if not text.endswith((".", "!", "?", "。", '"', "'")):
        text += "."
    parts = [part for part in END.split(text) if part]
    return [*parts[: most - 1], "".join(parts[most - 1 :])] if len(parts) > most else parts
