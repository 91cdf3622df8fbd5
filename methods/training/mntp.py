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
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict, concatenate_datasets
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
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
CHUNK = 2048  # masked tokens whose logits are in memory at a time


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
        blocks_NL, held_out = _hold_out(blocks_NL, recipe.masking)
        steps, _ = count_steps(recipe, len(blocks_NL))
        number = steps * recipe.batch_size * recipe.accumulation
        shuffled = ShuffledBlocks(blocks_NL, number, setup.seed)
        mini_batch = recipe.mini_batch
        if setup.mini_batch_tokens is not None:
            mini_batch = max(setup.mini_batch_tokens // recipe.masking.length, 1)
        model = MaskedModel(
            setup.backbone,
            setup.trained,
            load_head(setup.spec, setup.backbone),
            attention=setup.method.attention,
            packed=setup.packed,
        )
        return MaskedTrainer(
            **setup.trainer_options(
                TrainingArguments,
                num_rows=len(blocks_NL),
                mini_batch=mini_batch,
                evaluates=bool(len(held_out)),
            ),
            model=model,
            train_dataset=shuffled,
            eval_dataset=Subset(shuffled, [0]) if setup.validates or len(held_out) else None,
            data_collator=build_collator(recipe.masking, tokenizer, seed=setup.seed),
            held_out=held_out,
        )


def _hold_out(blocks_NL: np.ndarray, masking: Masking) -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks to train on, and the last ones, which are not. Raises ValueError where none
    are left to train on."""
    number = len(blocks_NL) - masking.held_out
    if number < 1:
        beyond = f" beyond the {masking.held_out} held out" if masking.held_out else ""
        raise ValueError(
            f"the texts do not fill one block of {masking.length} tokens{beyond}; lower "
            f"recipe.masking.length{' or recipe.masking.held_out' if beyond else ''}"
        )
    return blocks_NL[:number], blocks_NL[number:]


def mntp_loss(
    hidden_BLD: Tensor, labels_BL: Tensor, head_VD: Tensor, *, number: Any = None
) -> Tensor:
    """Return the mean cross-entropy of the masked tokens (labels that are not -100), each predicted
    from the state before it: a number. Gradients flow.

    number: what the sum is divided by, where these tokens are part of a larger batch. The logits of
    at most CHUNK tokens are in memory at a time.
    """
    wanted_BL = labels_BL[:, 1:] != IGNORED
    states_MD = hidden_BLD[:, :-1][wanted_BL]
    labels_M = labels_BL[:, 1:][wanted_BL].to(states_MD.device)
    if len(labels_M) <= CHUNK:
        total = _sum_losses(states_MD, labels_M, head_VD)
    else:
        chunks = zip(states_MD.split(CHUNK), labels_M.split(CHUNK), strict=True)
        sums = [
            checkpoint(_sum_losses, states, labels, head_VD, use_reentrant=False)
            for states, labels in chunks
        ]
        total = torch.stack(sums).sum()
    return total / (len(labels_M) if number is None else number)


def _sum_losses(states_MD: Tensor, labels_M: Tensor, head_VD: Tensor) -> Tensor:
    logits_MV = states_MD.to(head_VD.dtype) @ head_VD.T
    return functional.cross_entropy(logits_MV.float(), labels_M, reduction="sum")


class MaskedModel(nn.Module):
    """A backbone under its language-model head, as transformers' Trainer takes it.

    model: the backbone's own, or PEFT's wrapper of it; holds what is trained and is not called
    (module.MethodModule says why). head_VD: frozen.
    """

    accepts_loss_kwargs = True  # the trainer then counts the masked tokens of a whole step

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

    def forward(
        self, input_ids: Tensor, labels: Tensor, num_items_in_batch: Any = None
    ) -> dict[str, Tensor]:
        """Return {"loss": mean over masked tokens} of blocks [B, L]; with num_items_in_batch, which
        transformers' trainer gives, the mean over so many, of which these are a part."""
        states = hidden_states(
            self.backbone, input_ids.tolist(), attention=self.attention, packed=self.packed
        )
        loss = mntp_loss(states[-1], labels, self._head[0], number=num_items_in_batch)
        return {"loss": loss}


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
    """transformers' trainer over blocks in the order they were shuffled to.

    held_out: blocks that are not trained on, whose loss is measured.
    """

    def __init__(self, *, held_out: np.ndarray, **options: Any) -> None:
        self.held_out_NL = held_out
        super().__init__(**options)

    def measure(self: Any) -> dict[str, float]:
        """Return the mean loss of the held-out blocks' masked tokens, the same ones each time."""
        if not len(self.held_out_NL):
            return {}
        collator, total, number = replace(self.data_collator), 0.0, 0
        rows = [{"ids": ids, "draw": -1 - place} for place, ids in enumerate(self.held_out_NL)]
        size = self.args.per_device_train_batch_size
        for start in range(0, len(rows), size):
            batch = self._prepare_inputs(collator(rows[start : start + size]))
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = self.model(**batch, num_items_in_batch=1)["loss"]
            total += loss.item()
            number += int((batch["labels"][:, 1:] != IGNORED).sum())
        return {"eval_loss": total / number}

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)
