"""LLM2Vec: bidirectional attention, an instruction that is not pooled, a mean over the text.

Paper: LLM2Vec: Large Language Models Are Secretly Powerful Text Encoders (BehnamGhader et al.,
arXiv 2404.05961). Code: McGill-NLP/llm2vec @312adcf (= PyPI 0.2.3).

1. Queries and symmetric texts read "{instruction} {text}", documents the text alone.
2. The pool mask is the code's: as many positions, counted from the row's end, as the text has
   tokens *on its own*. With byte-level BPE that can be off by one, and what a chat frame puts
   after the text is pooled. Without a text everything is pooled.
3. A text of more than `doc_max_length` tokens loses whitespace words until it fits, and with them
   its line breaks. Words of many tokens (Chinese, Japanese, a long URL) make the code keep next to
   nothing: the empty text where there is no whitespace, the title alone of "title, blank, Chinese
   text". Where less than half of `doc_max_length` tokens would be left, the text is cut after
   `doc_max_length` tokens instead, whatever its words. Prose keeps more than three quarters under
   the code's rule and is cut as there. Like the code this measures at most `max_length` tokens:
   with `doc_max_length` at or above it no text is shortened, only the row is cut.
4. A row longer than `max_length` loses tokens of its text. The code cuts the row's end, a chat
   frame's tail included, and its mask then reaches into the instruction; with 512 and 400 an
   instruction must pass about 110 tokens before the two differ.
5. Chat models are wrapped by exact name, as in the code; other names are not.
6. The code joins instruction and text by `!@#$%^&*()` and splits there again, so that a text which
   contains this loses the rest of itself from the mask. Here it is text.
7. The code's bidirectional classes do nothing since transformers 4.53: attention stays causal. Here
   the backbone makes it bidirectional and verifies that by a test forward pass (the probe).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.base import (
    Attention,
    Inputs,
    Method,
    Pooling,
    PromptType,
    Span,
    added_by,
    encode_spans,
    first_tokens,
    pool_inputs,
    tokenize,
)

_LLAMA_3 = ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>")
_QWEN_2 = ("<|im_start|>user\n", "<|im_end|>")
CHAT_FRAMES = {
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA_3,
    "mistralai/Mistral-7B-Instruct-v0.2": ("[INST] ", " [/INST]"),
    "meta-llama/Llama-2-7b-chat-hf": ("[INST] ", " [/INST]"),
    "google/gemma-2-9b-it": ("<bos><start_of_turn>user\n", "<end_of_turn>"),
    "Qwen/Qwen2-1.5B-Instruct": _QWEN_2,
    "Qwen/Qwen2-7B-Instruct": _QWEN_2,
}


@dataclass(frozen=True, kw_only=True)
class LLM2Vec(Method):
    """LLM2Vec (BehnamGhader et al. 2024, arXiv 2404.05961): bidirectional, mean over the text."""

    attention: Attention = "bidirectional"
    pooling: Pooling = "mean"
    doc_max_length: int = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.doc_max_length < 1:
            raise ValueError(
                f"doc_max_length is {self.doc_max_length}; it is a number of tokens, 1 or more"
            )

    @property
    def uses_instructions(self) -> bool:
        return True

    def phrase_instruction(self, instruction: str) -> str:
        # The official MTEB script's rule for tasks that its own table lacks.
        return instruction if instruction.endswith(":") else instruction.rstrip(".") + ":"

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        queries = prompt_type != "document" and instruction
        prefix = f"{instruction.strip()} " if queries and instruction else ""
        frame = CHAT_FRAMES.get(tokenizer.name_or_path)
        texts, shortened = self._shorten(texts, tokenizer)
        if frame:
            texts, prefix = [text.rstrip() for text in texts], frame[0] + prefix.lstrip()
        tail = frame[1] if frame else ""
        before, after = added_by(tokenizer)
        rows = [
            (
                Span(before, pooled=False),
                Span(prefix, pooled=False),
                Span(text, cut=True, joined=True),
                Span(tail, joined=True),
                Span(after),
            )
            for text in texts
        ]
        inputs = encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)
        if prefix:
            alone = [len(ids) for ids in tokenize([t + tail for t in texts], tokenizer=tokenizer)]
        else:
            alone = [len(ids) - len(before) - len(after) for ids in inputs.ids]
        masks = [
            inputs.pool_mask[i] if i in inputs.cut else _last(alone[i], len(ids))
            for i, ids in enumerate(inputs.ids)
        ]
        return Inputs(inputs.ids, masks, inputs.cut | shortened)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def _shorten(self, texts: Sequence[str], tokenizer: Any) -> tuple[list[str], frozenset[int]]:
        """Return texts of at most `doc_max_length` tokens, and which of them were shortened."""
        kept = list(texts)
        lengths = [len(ids) for ids in tokenize(kept, tokenizer=tokenizer)]
        shortened = [i for i, length in enumerate(lengths) if self._too_long(length)]
        for i in shortened:
            words, length = kept[i], lengths[i]
            while self._too_long(length):
                parts = words.split()
                # The code measures at most max_length tokens; one round takes at most that share.
                share = self.doc_max_length / min(length, self.max_length)
                words = " ".join(parts[: int(len(parts) * share)])
                length = len(tokenize([words], tokenizer=tokenizer)[0])
            if length < self.doc_max_length / 2:
                words = first_tokens(kept[i], self.doc_max_length, tokenizer=tokenizer)
            kept[i] = words
        return kept, frozenset(shortened)

    def _too_long(self, length: int) -> bool:
        return min(length, self.max_length) > self.doc_max_length


def _last(number: int, length: int) -> list[bool]:
    """Return a mask over `length` positions, true on the last `number`; on all if it is 0."""
    number = min(number, length) or length
    return [False] * (length - number) + [True] * number
