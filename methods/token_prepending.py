"""Token Prepending: early layers copy the last token's state to a place before the text.

Paper: Token Prepending: A Training-Free Approach for Eliciting Better Sentence Embeddings from LLMs
(Fu et al., arXiv 2412.11556). Code: fuyuchenIfyw/token_prepending @cc41b58.

A placeholder stands before the opening quote. What decoder layers `start` to `stop` - 1 read there
is the state of the row's last token, so that every word sees, causally, a summary of the sentence.

1. The official code adds a token `<PST>` with a random input row, unseeded; only layer 0 sees it.
   Here the placeholder is the tokenizer's blank, so no vocabulary grows; vectors differ little from
   those of a random row (cosine 0.997).
2. The paper says that states are copied until layer 8, the code's settings say 7: `stop: 7`.
3. The official code reads state 27 of LLaMA2-7B's 32, chosen on STS-B's development data, and for
   `knowledge` the second-to-last one, which is `layer` here.
4. `source: mean` copies the mean of the row's states, as the fork hieunt1410/token_prepending
   @d1cb613 does for retrieval, under its own prompt.
5. Its claims are of 7B models. Texts are cleaned, and cut, as PromptEOL's are.
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
    eos_ids,
    pool_inputs,
    tokenize,
)

TEMPLATES = {
    "one_word": 'This sentence : <PST> "{text}" means in one word:"',
    "pretended_cot": (
        'After thinking step by step , this sentence : <PST> "{text}" means in one word:"'
    ),
    "knowledge": (
        "The essence of a sentence is often captured by its main subjects and actions, while "
        "descriptive terms provide additional but less central details. With this in mind , this "
        'sentence : <PST> "{text}" means in one word:"'
    ),
}
SLOT = "slot"


@dataclass(frozen=True, kw_only=True)
class TokenPrepending(Method):
    """Token Prepending (Fu et al. 2024, arXiv 2412.11556): the last state, put before the text.

    start, stop: the decoder layers, counted from 0, that read it: start ... stop - 1.
    """

    layer: int = -2
    template: Literal["one_word", "pretended_cot", "knowledge"] = "one_word"
    start: int = 1
    stop: int = 7
    source: Literal["last", "mean"] = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.start < self.stop:
            raise ValueError(f"start={self.start}, stop={self.stop}; valid: 1 <= start < stop")

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
        opening, rest = TEMPLATES[self.template].split("<PST>")
        quote, closing = rest.split("{text}")
        rows = [
            (
                Span(before),
                Span(opening),
                Span(blank, mark=SLOT),
                Span(quote),
                Span(clean_sentence(text), cut=True, joined=True),
                Span(closing, joined=True),
                Span(after),
            )
            for text in texts
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def steer(self, site: Site, states_TD: Tensor, places: Places) -> Tensor:
        last = states_TD[places.last]
        states_TD[places.at(SLOT)] = last if self.source == "last" else places.mean(states_TD)
        return states_TD

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
