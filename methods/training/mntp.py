"""Masked next token prediction: a masked token is predicted from the position before it, with
context from both sides.

Paper: LLM2Vec (BehnamGhader et al., arXiv 2404.05961). Code: McGill-NLP/llm2vec @312adcf,
run_mntp.py.

Texts are tokenized with what the tokenizer adds, concatenated and cut into blocks, a thousand texts
at a time; the remainder of each thousand is dropped. The state at position i - 1 predicts the token
at i, so a block's first position is never predicted. Only the positions that count pass the
language-model head, which stays frozen. 1. The code draws the masked tokens while it collates; here
each block's draw has a seed of its own, so that a resumed training masks the same ones.

B blocks, L positions, D hidden size, V vocabulary, M masked tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict, concatenate_datasets
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, SequentialSampler, Subset
from transformers import Trainer, TrainingArguments

from methods.backbone.forward import hidden_states
from methods.backbone.head import load_head
from methods.backbone.loader import Backbone
from methods.base import Attention, added_by, tokenize
from methods.training.objective import Objective, Setup
from methods.training.recipe import Masking, Recipe
from methods.training.trainer import TrainerExtensions, count_steps

IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class MaskedNextToken(Objective):
    """Train a model to use context from both sides, by `recipe.masking`."""

    reads = "texts"

    def check(self, recipe: Recipe) -> None:
        """Refuse a trained pooling, which would get no gradient."""
        if recipe.trainable.pooler is not None:
            raise ValueError("recipe: objective=mntp predicts tokens and pools nothing; no pooler")

    def new_tokens(self, recipe: Recipe, tokenizer: Any) -> tuple[str, ...]:
        """Return the mask token, which the vocabulary may lack."""
        return (find_mask_token(recipe.masking, tokenizer),)

    def build_trainer(self, setup: Setup, rows: DatasetDict) -> MaskedTrainer:
        """Return a trainer over blocks of all texts. Raises ValueError where they fill none."""
        recipe, tokenizer = setup.recipe, setup.backbone.tokenizer
        texts: Any = concatenate_datasets(list(rows.values()))["text"]
        cut = cut_blocks(texts, tokenizer=tokenizer, length=recipe.masking.length)
        blocks_NL = np.array([np.array(block, dtype=np.int32) for block in cut])
        if not len(blocks_NL):
            raise ValueError(
                f"the texts do not fill one block of {recipe.masking.length} tokens; lower "
                f"recipe.masking.length"
            )
        steps, _ = count_steps(recipe, len(blocks_NL))
        shuffled = ShuffledBlocks(blocks_NL, steps * recipe.batch_size, setup.seed)
        model = MaskedModel(
            setup.backbone,
            setup.trained,
            load_head(setup.spec, setup.backbone),
            attention=setup.method.attention,
            packed=setup.packed,
        )
        return MaskedTrainer(
            **setup.trainer_options(TrainingArguments, num_rows=len(blocks_NL)),
            model=model,
            train_dataset=shuffled,
            eval_dataset=Subset(shuffled, [0]) if setup.validates else None,
            data_collator=build_collator(recipe.masking, tokenizer, seed=setup.seed),
        )


def mntp_loss(hidden_BLD: Tensor, labels_BL: Tensor, head_VD: Tensor) -> Tensor:
    """Return the mean cross-entropy of the masked tokens (labels that are not -100), each predicted
    from the state before it: a number. Gradients flow."""
    wanted_BL = labels_BL[:, 1:] != IGNORED
    logits_MV = hidden_BLD[:, :-1][wanted_BL].to(head_VD.dtype) @ head_VD.T
    return functional.cross_entropy(logits_MV.float(), labels_BL[:, 1:][wanted_BL])


class MaskedModel(nn.Module):
    """A backbone under its language-model head, as transformers' Trainer takes it.

    model: the backbone's own, or PEFT's wrapper of it; holds what is trained and is not called
    (module.MethodModule says why). head_VD: frozen.
    """

    def __init__(
        self,
        backbone: Backbone,
        model: Any,
        head_VD: Tensor,
        *,
        attention: Attention = "bidirectional",
        packed: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.backbone = model, backbone
        self.attention: Attention = attention
        self.packed = packed
        self._head = [head_VD]  # in a list: no parameter of this model

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss": mean over masked tokens} of blocks [B, L]."""
        states = hidden_states(
            self.backbone, input_ids.tolist(), attention=self.attention, packed=self.packed
        )
        return {"loss": mntp_loss(states[-1], labels, self._head[0])}


@dataclass
class MaskCollator:
    """Mask blocks of ids: ids with masked tokens, and labels that are -100 elsewhere.

    vocabulary: ids below it replace a token at random. special: ids that are never masked.
    tokens: how many were handed out so far.
    """

    masking: Masking
    mask_id: int
    vocabulary: int
    special: Sequence[int] = ()
    seed: int = 0
    tokens: int = 0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        pairs = [self.mask(torch.tensor(row["ids"]).long(), int(row["draw"])) for row in rows]
        ids, labels = zip(*pairs, strict=True)
        self.tokens += sum(map(len, ids))
        return {"input_ids": torch.stack(ids), "labels": torch.stack(labels)}

    def mask(self, ids_L: Tensor, draw: int) -> tuple[Tensor, Tensor]:
        """Return one block's ids and labels; `draw` is its place in the whole training."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + draw)
        chance = torch.full(ids_L.shape, self.masking.share)
        chance[torch.isin(ids_L, torch.tensor(list(self.special), dtype=ids_L.dtype))] = 0
        masked_L = torch.bernoulli(chance, generator=generator).bool()
        if not masked_L[1:].any():  # a loss over nothing is no number
            masked_L[-1] = True
        labels_L = ids_L.masked_fill(~masked_L, IGNORED)
        fate = torch.rand(ids_L.shape, generator=generator)
        other = torch.randint(self.vocabulary, ids_L.shape, generator=generator)
        replaced = torch.full_like(ids_L, self.mask_id)
        if self.masking.replace == "default":
            replaced = torch.where(fate < 0.8, replaced, torch.where(fate < 0.9, other, ids_L))
        return torch.where(masked_L, replaced, ids_L), labels_L


def build_collator(masking: Masking, tokenizer: Any, *, seed: int) -> MaskCollator:
    """Return the collator of a tokenizer's blocks; BOS is never masked."""
    token = find_mask_token(masking, tokenizer)
    return MaskCollator(
        masking,
        mask_id=tokenizer.convert_tokens_to_ids(token),
        vocabulary=len(tokenizer),
        special=[i for i in (tokenizer.bos_token_id,) if i is not None],
        seed=seed,
    )


def find_mask_token(masking: Masking, tokenizer: Any) -> str:
    """Return the token that replaces a masked one; `mask` may have to be added first.

    Its id is the vocabulary's (as in the code, which sets `tokenizer.mask_token`), never that of
    the token's text tokenized, which may begin with a blank's token. Raises ValueError where the
    vocabulary lacks it.
    """
    if masking.token == "mask":
        return tokenizer.mask_token or "<mask>"
    token = "_" if masking.token == "blank" else tokenizer.eos_token
    if token is None or token not in tokenizer.get_vocab():
        lacks = "no EOS token" if token is None else f"no token {token!r} in its vocabulary"
        raise ValueError(
            f"recipe.masking.token={masking.token}: the tokenizer of {tokenizer.name_or_path!r} "
            f"has {lacks}; use recipe.masking.token=mask, which adds one if need be"
        )
    return token


def cut_blocks(texts: Sequence[str], *, tokenizer: Any, length: int) -> Iterator[list[int]]:
    """Yield the ids of concatenated texts in blocks of `length`."""
    before, after = added_by(tokenizer)
    for start in range(0, len(texts), 1000):
        rows = tokenize(texts[start : start + 1000], tokenizer=tokenizer)
        ids = list(chain.from_iterable((*before, *row, *after) for row in rows))
        for place in range(0, len(ids) - length + 1, length):
            yield ids[place : place + length]


class ShuffledBlocks(Dataset):
    """Blocks in the order they are trained on: shuffled anew for each pass over them."""

    def __init__(self, blocks_NL: np.ndarray, number: int, seed: int) -> None:
        draw, order = random.Random(seed), []
        while len(order) < number:
            order += draw.sample(range(len(blocks_NL)), len(blocks_NL))
        self.blocks_NL, self.order = blocks_NL, order[:number]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"ids": self.blocks_NL[self.order[place]], "draw": place}


class MaskedTrainer(TrainerExtensions, Trainer):
    """transformers' trainer over blocks in the order they were shuffled to."""

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)
