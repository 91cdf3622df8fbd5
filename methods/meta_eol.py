"""MetaEOL: ask for one word eight times, each time for another task, and average the states.

Paper: Meta-Task Prompting Elicits Embeddings from Large Language Models (Lei et al., arXiv
2402.18458). Code: Yibin-Lei/MetaEOL @c62096d.

Each text becomes eight rows, two prompts for each of four kinds of task. A vector is the plain mean
of the eight pooled states, which are not normalised before. Rows of a prompt begin alike, and this
is computed once (32 to 68 tokens of a row of 50 to 90).

1. Texts are cleaned as PromptEOL's are.
2. The official transfer path cuts whole prompts, tail first, to 512 tokens. Here tokens come off
   the text, so the tail always stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    PromptType,
    Span,
    added_by,
    clean_sentence,
    encode_spans,
    pool_inputs,
)

PROMPTS = (
    "In this task, you're presented with a text excerpt. Your task is to categorize the excerpt "
    "into a broad category such as 'Education', 'Technology', 'Health', 'Business', 'Environment', "
    "'Politics', or 'Culture'. These categories help in organizing content for better "
    'accessibility and targeting. For this task, this sentence : "{text}" should be classified '
    'under one general category in one word:"',
    "In this task, you're given a statement and you need to determine whether it's presenting an "
    "'Opinion' or a 'Fact'. This distinction is vital for information verification, educational "
    'purposes, and content analysis. For this task, this sentence : "{text}" discriminates between '
    'opinion and fact in one word:"',
    "In this task, you're given a review from an online platform. Your task is to generate a "
    "rating for the product based on the review on a scale of 1-5, where 1 means 'extremely "
    "negative' and 5 means 'extremely positive'. For this task, this sentence : \"{text}\" "
    'reflects the sentiment in one word:"',
    "In this task, you're reading a personal diary entry. Your task is to identify the predominant "
    "emotion expressed, such as joy, sadness, anger, fear, or love. For this task, this sentence : "
    '"{text}" conveys the emotion in one word:"',
    "In this task, you're presented with two sentences. Your task is to assess whether the "
    "sentences convey the same meaning. Use 'identical', 'similar', 'different', or 'unrelated' to "
    "describe the relationship. To enhance the performance of this task, this sentence : "
    '"{text}" means in one word:"',
    "In this task, you're given a sentence and a phrase. Your task is to determine if the phrase "
    "can be a contextual synonym within the given sentence. Options include 'yes', 'no', or "
    "'partially'. To enhance the performance of this task, this sentence : \"{text}\" means in one "
    'word:"',
    "In this task, you're examining a news article. Your task is to extract the most critical fact "
    'from the article. For this task, this sentence : "{text}" encapsulates the key fact in one '
    'word:"',
    "In this task, you're reviewing a scientific abstract. Your task is to identify the main "
    "entities (e.g., proteins, diseases) and their relations (e.g., causes, treats). For this "
    'task, this sentence : "{text}" highlights the primary entity or relation in one word:"',
)


@dataclass(frozen=True, kw_only=True)
class MetaEOL(Method):
    """MetaEOL (Lei et al. 2024, arXiv 2402.18458): one word for each of eight tasks, averaged.

    prompts: which of the eight, by their numbers.
    """

    prompts: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if wrong := [one for one in self.prompts if not 1 <= one <= len(PROMPTS)]:
            raise ValueError(f"prompts names {wrong[0]}; valid are 1 to {len(PROMPTS)}")

    @property
    def rows_per_text(self) -> int:
        return len(self.prompts)

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        frames = [PROMPTS[one - 1].split("{text}") for one in self.prompts]
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

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def combine(self, pooled_NRKD: Tensor) -> Tensor:
        return pooled_NRKD[:, :, 0].mean(1)
