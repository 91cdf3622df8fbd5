"""Find stock modules of sentence-transformers that say what a method says, and write them.

A layout is proposed from what the method makes of a few texts: the special tokens around a text, a
prompt in front of it, and which positions it pools. Whether it is exact is not argued here: the
written folder is loaded and compared, text by text (equality.py).

The old module names are written, since sentence-transformers 5 and 6 both read them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from typing import Any

from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Inputs, Method
from methods.encoding.vectorize import pools_by_mask
from methods.interop.prompts import Prompt
from methods.tokens import added_by, tokenize

PROBES = ("alpha beta", "Gamma delta 7", "one\ntwo", "Zeta?", "m")
POOLINGS = {"last": "lasttoken", "mean": "mean_tokens", "weighted_mean": "weightedmean_tokens"}
MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
MODES += ("lasttoken",)


@dataclass(frozen=True)
class StockLayout:
    """What stock modules are told: ids around every text, a prompt a side, a pooling.

    pooling: its name in a Pooling module's config, without `pooling_mode_`.
    symmetric: whether texts without a side are encoded as queries are.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    prompts: Mapping[str, str]
    pooling: str
    max_length: int
    normalize: bool
    symmetric: bool


def propose_layout(
    method: Method,
    tokenizer: Any,
    *,
    prompts: Sequence[Prompt],
    trained: TrainedPooling | None,
) -> StockLayout | str:
    """Return the stock layout that may equal a method, or why there is none.

    method: its layer resolved. prompts: the query's first.
    """
    if trained is not None:
        return f"stock modules have no {trained.spec.kind} pooling"
    if method.rows_per_text > 1 or len(method.layers) > 1:
        rows, layers = method.rows_per_text, len(method.layers)
        return f"stock modules pool one row at one layer, and this {rows} rows at {layers}"
    if method.layer != -1:
        return f"stock modules pool the last layer, and this pools layer {method.layer}"
    if not pools_by_mask(type(method)):
        return f"{type(method).__name__} pools in a way of its own"

    def prepare(side: Any, instruction: str | None) -> Inputs:
        return method.prepare_inputs(
            PROBES, tokenizer=tokenizer, prompt_type=side, instruction=instruction
        )

    made = {one.name: prepare(one.side, one.instruction) for one in prompts}
    symmetric = prepare(None, prompts[0].instruction)
    frames: dict[str, str] = {}
    around = set()
    for name, inputs in made.items():
        frame = _find_frame(inputs, tokenizer)
        if isinstance(frame, str):
            return f"{name}: {frame}"
        around.add((frame[0], frame[2]))
        frames[name] = frame[1]
    if len(around) > 1:
        return "queries and documents have different tokens around the text"
    pooling = _find_pooling(method.pooling, [*made.values(), symmetric])
    if pooling is None:
        return f"no stock pooling is the {method.pooling} of the positions that are pooled"
    first, last = around.pop()
    alike = symmetric.ids == made[prompts[0].name].ids
    return StockLayout(first, last, frames, pooling, method.max_length, method.normalize, alike)


def _find_frame(
    inputs: Inputs, tokenizer: Any
) -> tuple[tuple[int, ...], str, tuple[int, ...]] | str:
    """Return the ids before, the prompt and the ids after that all probes have, or why not."""
    start = commonprefix(inputs.ids)
    end = commonprefix([row[::-1] for row in inputs.ids])[::-1]
    special = set(tokenizer.all_special_ids)
    before = tuple(start[: next((i for i, t in enumerate(start) if t not in special), len(start))])
    after = tuple(end)
    if not set(after) <= special:
        return "a template stands behind the text"
    prompts = set()
    for row, text, bare in zip(
        inputs.ids, PROBES, tokenize(PROBES, tokenizer=tokenizer), strict=True
    ):
        middle = row[len(before) : len(row) - len(after)]
        if middle == bare:  # not decoded: some tokenizers take no capitals
            prompts.add("")
            continue
        shown = tokenizer.decode(
            middle, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if not shown.endswith(text):
            return f"{text!r} is changed before it is encoded"
        prompts.add(shown.removesuffix(text))
    if len(prompts) != 1:
        return "the texts have different prompts"
    return before, prompts.pop(), after


def _find_pooling(pooling: str, made: Sequence[Inputs]) -> str | None:
    """Return the stock pooling of the positions that rows pool, None where there is none."""
    masks = [mask for inputs in made for mask in inputs.pool_mask]
    if all(mask[0] and sum(mask) == 1 for mask in masks) and pooling in POOLINGS:
        return "cls_token"
    if pooling == "last" and all(mask[-1] for mask in masks):
        return POOLINGS[pooling]
    return POOLINGS.get(pooling) if all(map(all, masks)) else None


def make_tokenizer(layout: StockLayout, tokenizer: Any) -> Any:
    """Return a copy of the tokenizer that puts the layout's ids around a text by itself."""
    from tokenizers.processors import TemplateProcessing

    made = copy.deepcopy(tokenizer)
    made.chat_template = None
    made.model_max_length, made.padding_side = layout.max_length, "right"
    if made.pad_token is None:  # never attended to nor pooled: the attention mask leaves it out
        made.pad_token = made.eos_token or made.unk_token or made.bos_token
    if added_by(tokenizer) != (layout.before, layout.after):
        names = made.convert_ids_to_tokens([*layout.before, *layout.after])
        first = len(layout.before)
        made.backend_tokenizer.post_processor = TemplateProcessing(
            single=[*names[:first], "$A", *names[first:]],
            special_tokens=list(set(zip(names, [*layout.before, *layout.after], strict=True))),
        )
    return made


def write_stock_modules(layout: StockLayout, folder: Path, dimension: int) -> None:
    """Write modules.json and the modules' configs; prompts go to the model's own config."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules += [("2_Normalize", "Normalize")] if layout.normalize else []
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": layout.max_length, "do_lower_case": False},
    )
    pooling = {f"pooling_mode_{mode}": mode == layout.pooling for mode in MODES}
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": dimension, **pooling, "include_prompt": True},
    )
    if layout.normalize:
        (folder / "2_Normalize").mkdir(exist_ok=True)


def write_json(file: Path, value: Any) -> None:
    """Write a value as indented JSON, with its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
