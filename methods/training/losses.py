"""Compute contrastive losses: sentence-transformers' own, with the numbers of a recipe.

N queries, K hard negatives of each, D hidden size. For query i the candidates are all positives and
all hard negatives of the batch; with cosine similarity and a temperature t the loss is

    -log exp(cos(q_i, p_i) / t) / sum_c exp(cos(q_i, c) / t)

averaged over queries. That is InfoNCE with in-batch negatives, MultipleNegativesRanking with scale
1 / t, and LLM2Vec's HardNegativeNLL with scale 50. `symmetric` (cpt-text, arXiv 2201.10005)
averages it with the same of positives over queries. In several processes candidates are those of
all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from torch import Tensor, nn
from torch.nn import functional


class ContrastiveLoss(CachedMultipleNegativesRankingLoss):
    """The contrastive loss of a recipe, as a sentence-transformers loss.

    mini_batch: rows of a column whose activations are in memory at a time (GradCache, which encodes
        every row twice); mini_batch_tokens: tokens, instead. None: all of them, encoded once, in
        one pass. learned: the logarithm of the scale is
        a parameter and trained with the model. across_processes: candidates of all processes.
    """

    def __init__(
        self,
        model: Any,
        *,
        temperature: float,
        mini_batch: int | None = None,
        mini_batch_tokens: int | None = None,
        learned: bool = False,
        symmetric: bool = False,
        across_processes: bool = False,
    ) -> None:
        super().__init__(
            model,
            scale=1 / temperature,
            mini_batch_size=mini_batch or 1 << 30,
            mini_batch_num_tokens=mini_batch_tokens,
            gather_across_devices=across_processes,
            directions=("query_to_doc", "doc_to_query") if symmetric else ("query_to_doc",),
            partition_mode="per_direction" if symmetric else "joint",
        )
        self.log_scale = None
        if learned:
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
            if across_processes:  # DistributedDataParallel averages the model's gradients alone
                self.log_scale.register_hook(_average_over_processes)

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Any) -> Tensor:
        """Return the loss of features of queries, positives and each column of negatives."""
        columns = list(sentence_features)
        if self.mini_batch_size < 1 << 30 or self.mini_batch_num_tokens:
            return super().forward(columns, labels)
        vectors = self.model(_stack_columns(columns))["sentence_embedding"]
        return self.calculate_loss([[part] for part in vectors.chunk(len(columns))])

    @property
    def scale(self) -> Any:
        """The factor of similarities, 1 / temperature."""
        return self.loss.scale if self.log_scale is None else self.log_scale.exp()


def _average_over_processes(gradient: Tensor) -> Tensor:
    """Average a gradient over processes, as those of the model are."""
    gradient = gradient.clone()
    torch.distributed.all_reduce(gradient)
    return gradient / torch.distributed.get_world_size()


def _stack_columns(columns: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return all columns as one batch, padded to one length."""
    width = max(column["input_ids"].shape[1] for column in columns)
    return {
        name: torch.cat([functional.pad(c[name], (0, width - c[name].shape[1])) for c in columns])
        for name in columns[0]
    }


def contrastive_loss(
    queries_ND: Tensor,
    positives_ND: Tensor,
    *negatives_ND: Tensor,
    temperature: float = 0.05,
    symmetric: bool = False,
) -> Tensor:
    """Return the loss of given vectors, as training computes it: a number. Gradients flow."""
    loss = ContrastiveLoss(
        nn.Sequential(nn.Identity()), temperature=temperature, symmetric=symmetric
    )
    return loss.calculate_loss([[queries_ND], [positives_ND], *([n] for n in negatives_ND)])
