"""bge-en-icl: solved examples before a query, pooled at EOS.

Paper: Making Text Embedders Few-Shot Learners (Li et al., arXiv 2409.15700).
Code: FlagOpen/FlagEmbedding @02197ab (inference/embedder/decoder_only/icl.py).

1. A query reads "<instruct>{instruction}", a line break, "<query>{text}", a line break,
   "<response>" and EOS. Before it stand the examples, each so and with its response, with a blank
   line behind each. An example without an instruction has the query's.
2. The code tokenises the query without "<response>", cuts it to `max_length` less a "<s>" and less
   what "<response></s>" with its line break has, decodes it, puts the examples before it and
   "<response>" behind it, and tokenises that anew; and so does this, for every query. Decoding may
   change a text: bytes of half a character become a replacement character, and a tokenizer may
   remove or add a blank. Examples do not count towards `max_length`.
3. The three markers are tokens of the released model's own (its vocabulary has 32,003), and plain
   text on any other. Both are what the tokenizer makes of the string.
4. EOS is put there by hand: the code leaves it to `add_eos_token`, which transformers 5 ignores.
5. Documents are bare. Symmetric texts are queries here. Without an instruction a query has no
   "<instruct>", as in the code.
6. An instruction that leaves nothing of `max_length` is an error; the code cuts it.

Not run on bge-en-icl's own weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    PromptType,
    Span,
    added_by,
    encode_spans,
    eos_ids,
    pool_inputs,
    tokenize,
)

RESPONSE = "\n<response>"


@dataclass(frozen=True, kw_only=True)
class BgeIcl(Method):
    """bge-en-icl (Li et al. 2024, arXiv 2409.15700): solved examples, a query, pooled at EOS.

    examples: of the task, each a mapping of `query`, `response` and, where it differs from the
        task's, `instruction`.
    """

    normalize: bool = True
    examples: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for example in self.examples:
            if not {"query", "response"} <= set(example) <= {"instruction", "query", "response"}:
                raise ValueError(
                    f"examples has {dict(example)!r}; an example is a mapping of query, response "
                    f"and, where it is another than the task's, instruction"
                )

    @property
    def uses_instructions(self) -> bool:
        return True

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, eos = Span(added_by(tokenizer)[0]), Span(eos_ids(tokenizer))
        if prompt_type == "document":
            rows = [(before, Span(text, cut=True), eos) for text in texts]
            return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)
        solved = "".join(f"{self._show_example(one, instruction)}\n\n" for one in self.examples)
        queries, cut = self._cut_queries(texts, tokenizer, instruction)
        rows = [(before, Span(f"{solved}{query}{RESPONSE}"), eos) for query in queries]
        inputs = encode_spans(rows, tokenizer=tokenizer, max_length=None)
        return Inputs(inputs.ids, inputs.pool_mask, cut)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def _show_example(self, example: Mapping[str, str], instruction: str | None) -> str:
        asked = example.get("instruction") or instruction
        if not asked:
            raise ValueError("an example of bge_icl has no instruction, and neither has the query")
        return f"<instruct>{asked}\n<query>{example['query']}{RESPONSE}{example['response']}"

    def _cut_queries(
        self, texts: Sequence[str], tokenizer: Any, instruction: str | None
    ) -> tuple[list[str], frozenset[int]]:
        """Return queries as they are decoded, cut to their limit, and which of them were cut."""
        frame = f"<instruct>{instruction}\n<query>" if instruction else ""
        opening, start, end, *ids = tokenize(
            [frame, "<s>", f"{RESPONSE}</s>", *(frame + text for text in texts)],
            tokenizer=tokenizer,
        )
        limit = self.max_length - len(start) - len(end)
        if len(opening) >= limit:
            needed = len(opening) + len(start) + len(end) + 1
            raise ValueError(
                f"a template of {needed} tokens does not fit max_length={self.max_length}; raise "
                f"method.max_length or shorten the instruction"
            )
        kept = tokenizer.batch_decode(
            [one[:limit] for one in ids], clean_up_tokenization_spaces=False
        )
        return kept, frozenset(row for row, one in enumerate(ids) if len(one) > limit)
