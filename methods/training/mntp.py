"""Masked next token prediction: what is hidden is told from both sides, one position before it.

Paper: LLM2Vec (BehnamGhader et al., arXiv 2404.05961). Code: McGill-NLP/llm2vec @312adcf,
run_mntp.py.

Texts are read with what the tokenizer adds, concatenated and cut into blocks, a thousand texts
at a time, what is left over dropped. The state at position i - 1 predicts the token at i, so a
block's first position is never predicted. Only the positions that count pass the language-model
head, which stays frozen. 1. The code draws hidden tokens while it collates; here each block's draw
has a seed of its own, so that a resumed training hides the same ones.

B blocks, L positions, D hidden size, V vocabulary, M hidden tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import concatenate_datasets
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, SequentialSampler, Subset
from transformers import Trainer, TrainingArguments

from methods.backbone.forward import hidden_states
from methods.backbone.head import load_head
from methods.backbone.loader import Backbone
from methods.base import Attention, added_by, tokenize
from methods.training.data import Loaded
from methods.training.recipe import Masking
from methods.training.trainer import Recipes, steps_of

if TYPE_CHECKING:
    from methods.training.job import TrainJob

IGNORED = -100


def mntp_loss(hidden_BLD: Tensor, labels_BL: Tensor, head_VD: Tensor) -> Tensor:
    """Mean cross-entropy of the hidden tokens (labels that are not -100), each told from the state
    before it: a number. Gradients flow."""
    wanted_BL = labels_BL[:, 1:] != IGNORED
    logits_MV = hidden_BLD[:, :-1][wanted_BL].to(head_VD.dtype) @ head_VD.T
    return functional.cross_entropy(logits_MV.float(), labels_BL[:, 1:][wanted_BL])


class MaskedModel(nn.Module):
    """A backbone under its language-model head, as transformers' Trainer takes it.

    model: the backbone's, or what wraps it (PEFT). head_VD: frozen.
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
        """{"loss": mean over hidden tokens} of blocks [B, L]."""
        states = hidden_states(
            self.backbone, input_ids.tolist(), attention=self.attention, packed=self.packed
        )
        return {"loss": mntp_loss(states[-1], labels, self._head[0])}


@dataclass
class MaskCollator:
    """Blocks of ids -> ids with hidden tokens, and labels: -100 where nothing is hidden.

    vocabulary: ids below it stand in for a token at random. special: ids that are never hidden.
    """

    masking: Masking
    mask_id: int
    vocabulary: int
    special: Sequence[int] = ()
    seed: int = 0
    tokens: int = 0  # handed out so far

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        pairs = [self.hide(torch.tensor(row["ids"]).long(), int(row["draw"])) for row in rows]
        ids, labels = zip(*pairs, strict=True)
        self.tokens += sum(map(len, ids))
        return {"input_ids": torch.stack(ids), "labels": torch.stack(labels)}

    def hide(self, ids_L: Tensor, draw: int) -> tuple[Tensor, Tensor]:
        """One block's ids and labels; `draw` is its place in the whole training."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + draw)
        chance = torch.full(ids_L.shape, self.masking.share)
        chance[torch.isin(ids_L, torch.tensor(list(self.special), dtype=ids_L.dtype))] = 0
        hidden = torch.bernoulli(chance, generator=generator).bool()
        if not hidden[1:].any():  # a loss over nothing is no number
            hidden[-1] = True
        labels_L = ids_L.masked_fill(~hidden, IGNORED)
        fate = torch.rand(ids_L.shape, generator=generator)
        other = torch.randint(self.vocabulary, ids_L.shape, generator=generator)
        masked = torch.full_like(ids_L, self.mask_id)
        if self.masking.replace == "default":
            masked = torch.where(fate < 0.8, masked, torch.where(fate < 0.9, other, ids_L))
        return torch.where(hidden, masked, ids_L), labels_L


def blocks(texts: Sequence[str], *, tokenizer: Any, length: int) -> Iterator[list[int]]:
    """Ids of concatenated texts, in blocks of `length`."""
    before, after = added_by(tokenizer)
    for start in range(0, len(texts), 1000):
        rows = tokenize(texts[start : start + 1000], tokenizer=tokenizer)
        ids = list(chain.from_iterable((*before, *row, *after) for row in rows))
        for place in range(0, len(ids) - length + 1, length):
            yield ids[place : place + length]


def mask_token(masking: Masking, tokenizer: Any) -> str:
    """Return the token that stands where one is hidden; `mask` may have to be added first.

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


class MaskedTrainer(Recipes, Trainer):
    """transformers' trainer over blocks in the order they were drawn."""

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)


def masked_trainer(job: TrainJob, loaded: Loaded, trained: Any) -> MaskedTrainer:
    """The trainer of a masked recipe over loaded texts."""
    recipe, tokenizer = job.recipe, job.backbone.tokenizer
    texts: Any = concatenate_datasets(list(loaded.rows.values()))["text"]
    made = blocks(texts, tokenizer=tokenizer, length=recipe.masking.length)
    every = np.array([np.array(block, dtype=np.int32) for block in made])
    if not len(every):
        raise ValueError(
            f"the texts do not fill one block of {recipe.masking.length} tokens; lower "
            f"recipe.masking.length"
        )
    steps, _ = steps_of(recipe, len(every))
    rows = Drawn(every, steps * recipe.batch_size, job.run_as.seed)
    token = mask_token(recipe.masking, tokenizer)
    collator = MaskCollator(
        recipe.masking,
        mask_id=tokenizer.convert_tokens_to_ids(token),
        vocabulary=len(tokenizer),
        special=[i for i in (tokenizer.bos_token_id,) if i is not None],
        seed=job.run_as.seed,
    )
    model = MaskedModel(
        job.backbone,
        trained,
        load_head(job.spec, job.backbone),
        attention=job.method.attention,
        packed=job.packed,
    )
    return MaskedTrainer(
        **job.options(TrainingArguments, trained, rows=len(every)),
        model=model,
        train_dataset=rows,
        eval_dataset=Subset(rows, [0]) if job.run_as.validate else None,
        data_collator=collator,
    )


class Drawn(Dataset):
    """Blocks in the order they are read: shuffled anew for each pass over them."""

    def __init__(self, every: np.ndarray, number: int, seed: int) -> None:
        draw, order = random.Random(seed), []
        while len(order) < number:
            order += draw.sample(range(len(every)), len(every))
        self.every, self.order = every, order[:number]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"ids": self.every[self.order[place]], "draw": place}
