"""Contrastive Prompting: subtract, in one layer, what a prompt for the irrelevant reads.

Paper: Contrastive Prompting Enhances Sentence Embeddings in LLMs through Inference-Time Steering
(Cheng et al., arXiv 2505.12831). Code: zifengcheng/CP @bf5ee56.

A text becomes two rows: a prompt for its meaning and one for its irrelevant information. In decoder
layer `at`, before the output projection of attention, the state A of the first row's last token
becomes, of the second row's state B,

    scale * (A - B)           or, where `scale` is null,           (A - B) * |A| / |A - B|

Layers above run as usual, and the first row's last state is the vector.

1. The official code runs the second prompt first, up to that layer; here both rows ride in one
   batch, which gives the same.
2. `at` is 4 for Llama 2 and 6 for Llama 3 there, `scale` 0.5 or 0.25. It reads state 27 of 32, and
   for `knowledge` the second-to-last one, which is `layer` here.
3. Texts are cleaned, and cut, as PromptEOL's are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    Places,
    PromptType,
    Site,
    Span,
    added_by,
    clean_sentence,
    encode_spans,
    pool_inputs,
)

TEMPLATES = {
    "one_word": 'This sentence : "{text}" means in one word:"',
    "pretended_cot": ('After thinking step by step , this sentence : "{text}" means in one word:"'),
    "knowledge": (
        "The essence of a sentence is often captured by its main subjects and actions, while "
        "descriptive terms provide additional but less central details. With this in mind , this "
        'sentence : "{text}" means in one word:"'
    ),
}
IRRELEVANT = 'The irrelevant information of this sentence : "{text}" means in one word:"'


@dataclass(frozen=True, kw_only=True)
class ContrastivePrompting(Method):
    """Contrastive Prompting (Cheng et al. 2025, arXiv 2505.12831): less of the irrelevant.

    at: the decoder layer, counted from 0. scale: of the difference; null: so that A's length stays.
    """

    layer: int = -2
    template: Literal["one_word", "pretended_cot", "knowledge"] = "one_word"
    at: int = 4
    scale: float | None = 0.5

    @property
    def rows_per_text(self) -> int:
        return 2

    @property
    def sites(self) -> tuple[Site, ...]:
        return (("heads", self.at),)

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        frames = [one.split("{text}") for one in (TEMPLATES[self.template], IRRELEVANT)]
        rows = [
            (
                Span(before),
                Span(opening),
                Span(clean_sentence(text), cut=True, joined=True),
                Span(closing, joined=True),
                Span(after),
            )
            for text in texts
            for opening, closing in frames
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def steer(self, site: Site, states_TD: Tensor, places: Places) -> Tensor:
        wanted, irrelevant = places.last[0::2], places.last[1::2]
        a_ND = states_TD[wanted]
        difference_ND = a_ND - states_TD[irrelevant]
        if self.scale is not None:
            states_TD[wanted] = self.scale * difference_ND
        else:
            length_N1 = difference_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
            states_TD[wanted] = difference_ND * (a_ND.norm(dim=1, keepdim=True) / length_N1)
        return states_TD

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def combine(self, pooled_NRKD: Tensor) -> Tensor:
        return pooled_NRKD[:, 0, 0]
