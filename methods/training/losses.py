"""Contrastive losses: sentence-transformers' own, under the numbers of a recipe.

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
    """The loss of a recipe.

    mini_batch: rows whose activations are in memory at a time (GradCache, which reads every row
        twice); None for all of them, read once in one pass. learned: the logarithm of the scale is
        a parameter and trained with the model.
    """

    def __init__(
        self,
        model: Any,
        *,
        temperature: float,
        mini_batch: int | None = None,
        learned: bool = False,
        symmetric: bool = False,
        across_processes: bool = False,
    ) -> None:
        super().__init__(
            model,
            scale=1 / temperature,
            mini_batch_size=mini_batch or 1 << 30,
            gather_across_devices=across_processes,
            directions=("query_to_doc", "doc_to_query") if symmetric else ("query_to_doc",),
            partition_mode="per_direction" if symmetric else "joint",
        )
        self.log_scale = None
        if learned:
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
            if across_processes:  # what is wrapped for several processes is the model alone
                self.log_scale.register_hook(_mean_of_processes)

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Any) -> Tensor:
        """The loss of a batch: features of queries, positives, and of each column of negatives."""
        columns = list(sentence_features)
        if self.mini_batch_size < 1 << 30:
            return super().forward(columns, labels)
        vectors = self.model(_stacked(columns))["sentence_embedding"]
        return self.calculate_loss([[part] for part in vectors.chunk(len(columns))])

    @property
    def scale(self) -> Any:
        """What similarities are multiplied by."""
        return self.loss.scale if self.log_scale is None else self.log_scale.exp()


def _mean_of_processes(gradient: Tensor) -> Tensor:
    """A gradient averaged over processes, as those of the model are."""
    gradient = gradient.clone()
    torch.distributed.all_reduce(gradient)
    return gradient / torch.distributed.get_world_size()


def _stacked(columns: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """All columns as one batch, padded to one length."""
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
    """The loss of given vectors, as training computes it: a number. Gradients flow."""
    loss = ContrastiveLoss(
        nn.Sequential(nn.Identity()), temperature=temperature, symmetric=symmetric
    )
    return loss.calculate_loss([[queries_ND], [positives_ND], *([n] for n in negatives_ND)])
