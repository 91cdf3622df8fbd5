"""Count the memory that a card must have, for published recipes and for evaluation, without one.

`python -m tests.benchmarks.memory --out tests/benchmarks/MEMORY.md` runs passes, and steps of the
real losses, over models of full size on torch's meta device, where a tensor has a size and no
contents, and counts the bytes of all tensors that are alive at once. What an allocator and the
libraries add (fragments, workspaces, a context) is not in it.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from methods.backbone.forward import forward
from methods.backbone.loader import Backbone
from methods.backbone.recomputation import recompute_layers
from methods.backbone.tiny import make_byte_tokenizer
from methods.base import Attention, Inputs, Method
from methods.config.resolve import build_method, compose
from methods.encoding.batch_pooling import BatchPooling, HostCopy
from methods.provenance import find_commit
from methods.sgpt import SGPT
from methods.training.config import build_recipe
from methods.training.losses import ContrastiveLoss
from methods.training.mntp import IGNORED, MaskedModel
from methods.training.module import Collator, MethodModule
from methods.training.prepare import set_attention_dropout
from methods.training.recipe import Recipe
from methods.training.trainable import add_tokens, attach, count_parameters
from tests.benchmarks.measure import write_table
from tests.benchmarks.sizes import (
    BLOOM_7B1,
    ENCODED,
    GPT_300M,
    GPT_J_6B,
    LLAMA_2_7B,
    LLAMA_3_8B,
    MISTRAL_7B,
    SHEARED_1_3B,
)

GIB = 2**30
BUDGET = 32768  # tokens of a batch on a card
TEXT = "a text that is longer than any limit " * 60
OPTIMIZER = 14  # bytes of a trained number beside its copy in bfloat16: float32 and two moments


@dataclass(frozen=True)
class Case:
    """A recipe at its published size. model: its name and config. negatives: columns of them."""

    recipe: str
    model: str
    config: Mapping[str, Any]
    negatives: int = 1


CASES = [
    Case("sgpt_nli", "GPT-J-6B", GPT_J_6B),
    Case("sgpt_msmarco", "GPT-J-6B", GPT_J_6B),
    Case("prompteol_nli", "Llama-2-7B", LLAMA_2_7B),
    Case("echo_supervised", "Mistral-7B", MISTRAL_7B),
    Case("e5_instruct", "Mistral-7B", MISTRAL_7B),
    Case("repllama_msmarco", "Llama-2-7B", LLAMA_2_7B, negatives=15),
    Case("udever", "BLOOM-7B1", BLOOM_7B1),
    Case("cpt_text", "300M parameters", GPT_300M, negatives=0),
    Case("llm2vec_mntp", "Llama-3-8B", LLAMA_3_8B),
    Case("llm2vec_mntp_mistral", "Mistral-7B", MISTRAL_7B),
    Case("llm2vec_simcse", "Sheared-LLaMA-1.3B", SHEARED_1_3B, negatives=0),
    Case("llm2vec_simcse", "Mistral-7B", MISTRAL_7B, negatives=0),
    Case("llm2vec_supervised", "Mistral-7B", MISTRAL_7B),
    Case("llm2vec_supervised", "Llama-3-8B", LLAMA_3_8B),
    Case("llm2vec_mntp_24gb", "Llama-3-8B", LLAMA_3_8B),
]


def main() -> None:
    """Count both tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the tables there")
    args = parser.parse_args()
    lines = [
        f"Encoding in batches of {BUDGET:,} tokens, bfloat16, GiB:",
        "",
        "| model | weights | one layer | every layer, three poolings |",
        "|---|---:|---:|---:|",
    ]
    for name, config in ENCODED.items():
        found = [f"{gib:.1f}" for gib in measure_encoding(config)]
        lines.append(f"| {name} | {' | '.join(found)} |")
    lines += [
        "",
        "A step of training, bfloat16, packed where attention has no dropout, GiB:",
        "",
        "| recipe | model | layers recomputed | activations held |",
        "|---|---|---:|---:|",
    ]
    for case in CASES:
        found = [f"{measure_step(case, recomputes=again):.1f}" for again in (True, False)]
        lines.append(f"| {case.recipe} | {case.model} | {' | '.join(found)} |")
    note = (
        f"Counted on tensors without contents; nothing was run on a card. `python -m "
        f"tests.benchmarks.memory --out tests/benchmarks/MEMORY.md`, {date.today()}, commit "
        f"{find_commit()['commit']}, torch {torch.__version__}."
    )
    write_table(lines, note, args.out)


def measure_encoding(config: Mapping[str, Any]) -> list[float]:
    """Return GiB of the weights, and the peaks of a pass that pools one layer, and all of them."""
    backbone = build_meta_backbone(config)
    weights = sum(p.numel() * p.element_size() for p in backbone.model.parameters())
    lengths = [1 + (37 * place) % 512 for place in range(2 * BUDGET // 256)]
    layers = [*range(backbone.num_layers), -1]
    poolings = ("last", "mean", "weighted_mean")
    every = [SGPT(layer=layer, pooling=pooling) for layer in layers for pooling in poolings]
    peaks = [measure_pass(backbone, lengths, cells)[0] for cells in ([SGPT()], every)]
    return [weights / GIB, *((weights + peak) / GIB for peak in peaks)]


def measure_pass(
    backbone: Backbone, lengths: Sequence[int], cells: Sequence[Method], *, prefix: int = 0
) -> tuple[int, int]:
    """Return the peak bytes of a pass beyond the weights, and the number of batches.

    prefix: tokens that all rows begin with.
    """
    rows = [[3] * prefix + [4 + k % 300] + [5] * (n - 1) for k, n in enumerate(lengths)]
    inputs = Inputs(rows, [[True] * len(row) for row in rows])
    layers = sorted({cell.layer for cell in cells})
    stays = patch.object(HostCopy, "begin", list)  # nothing can be copied to the host
    with stays, Memory() as memory:
        found = forward(
            backbone,
            inputs,
            attention=cells[0].attention,
            layers=layers,
            make_reader=lambda batch: BatchPooling(cells, None, inputs.rows(batch)),
        )
        batches = sum(len(vectors) == len(cells) for _, vectors in found)
    return memory.peak, batches


class Memory(TorchDispatchMode):
    """Bytes of the meta device's storages that are alive, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        tree_map(self.note, found)
        return found

    def note(self, tensor: Any) -> None:
        if not isinstance(tensor, torch.Tensor) or tensor.device.type != "meta":
            return
        storage = tensor.untyped_storage()
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.free, size)

    def free(self, size: int) -> None:
        self.live -= size


def build_meta_backbone(config: Mapping[str, Any]) -> Backbone:
    """Return a backbone of a full size without contents, packed as on a card."""
    from transformers import AutoConfig, AutoModel

    made = AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = AutoModel.from_config(made, dtype=torch.bfloat16, attn_implementation="eager")
    both: frozenset[Attention] = frozenset({"causal", "bidirectional"})
    packed: frozenset[Attention] = both if config["model_type"] != "bloom" else frozenset()
    return Backbone(
        model=model.eval().requires_grad_(False),
        tokenizer=make_byte_tokenizer(),
        identity={"name": "x/y", "dtype": "bfloat16"},
        choices={"device": "meta"},
        num_layers=made.num_hidden_layers,
        max_positions=None,
        batch_tokens=BUDGET,
        attentions=both,
        packed=packed,
        packed_layout="varlen",
    )


def measure_step(case: Case, *, recomputes: bool) -> float:
    """Return the peak GiB of a step of training.

    The meta device has no autocast, which computes in copies of the trained numbers. So these are
    made of that dtype, and their float32 originals and the optimiser's moments are added.
    """
    config = compose([f"recipe={case.recipe}", "model=tiny"], verb="train")
    recipe = build_recipe(OmegaConf.to_container(config.recipe, resolve=True))  # pyright: ignore[reportArgumentType]
    backbone = build_meta_backbone(case.config)
    with torch.device("meta"):
        trained = attach(backbone.model, recipe.trainable, rows=[])
    trained.to(torch.bfloat16)
    if recomputes:
        recompute_layers(backbone.model)
    set_attention_dropout(backbone.model, recipe.attention_dropout)
    trained.train()
    number, _ = count_parameters(trained)
    method, held = build_method(config.method), []
    add_tokens(backbone.model, backbone.tokenizer, method.new_tokens)
    if recipe.objective == "mntp":
        rows = (config.run.mini_batch_tokens or 1 << 30) // recipe.masking.length
        held.append(make_head(backbone))
        rows = min(recipe.batch_size, rows)
        step = make_masked_step(backbone, trained, recipe, method, head=held[0], rows=rows)
    else:
        step = make_contrastive_step(backbone, trained, recipe, method, negatives=case.negatives)
    with Memory() as memory:
        for weight in (*backbone.model.parameters(), *trained.parameters(), *held):
            memory.note(weight)
        step()
    return (memory.peak + OPTIMIZER * number) / GIB


def make_masked_step(
    backbone: Backbone,
    trained: Any,
    recipe: Recipe,
    method: Method,
    *,
    head: torch.Tensor,
    rows: int,
) -> Callable[[], None]:
    """Return a step of masked next token prediction, of so many blocks."""
    model = MaskedModel(backbone, trained, head, attention=method.attention)
    ids_BL = torch.full((rows, recipe.masking.length), 5)
    drawn_BL = torch.rand(ids_BL.shape, generator=torch.Generator().manual_seed(0))
    labels_BL = ids_BL.masked_fill(drawn_BL > recipe.masking.share, IGNORED)

    return lambda: model(ids_BL, labels_BL)["loss"].backward()


def make_head(backbone: Backbone) -> torch.Tensor:
    """Return a language-model head that is not the input embeddings."""
    size = backbone.model.config.get_text_config()
    return torch.empty(size.vocab_size, size.hidden_size, dtype=torch.bfloat16, device="meta")


def make_contrastive_step(
    backbone: Backbone, trained: Any, recipe: Recipe, method: Method, *, negatives: int
) -> Callable[[], None]:
    """Return a step over texts that fill every limit. Of a batch in parts two parts stand for all:
    one is computed at a time, and the others' vectors are small."""
    module = MethodModule(backbone, method, trained, packed=not recipe.attention_dropout)
    model = torch.nn.Sequential(module)
    loss = ContrastiveLoss(model, temperature=recipe.temperature, mini_batch=recipe.mini_batch)
    columns = ["query", "positive", *(f"negative_{place}" for place in range(negatives))]
    rows = min(recipe.batch_size, 2 * (recipe.mini_batch or recipe.batch_size))
    collate = Collator(method, backbone.tokenizer, recipe.text_tokens)
    row = dict.fromkeys(columns, TEXT) | {"instruction": "Find what answers it"}
    made = collate([row] * rows)
    features = [
        {name.removeprefix(f"{column}_"): part for name, part in made.items() if column in name}
        for column in columns
    ]
    return lambda: loss(features, None).backward()


if __name__ == "__main__":
    main()
