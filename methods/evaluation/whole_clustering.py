"""Cluster a task's texts whole, once per k-means seed.

mteb's own class draws documents *with replacement*, which puts copies of a text into one cluster
and lifts random vectors to a V-measure of 26, and embeds 4 % of the corpus by default.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from mteb.abstasks import AbsTaskClustering

from methods.evaluation.mteb_internals import encode_column

SEEDS = 10


class WholeClustering(AbsTaskClustering):
    """Cluster every text into as many clusters as there are labels; scores are means over seeds."""

    max_fraction_of_documents_to_embed = None

    def _evaluate_subset(
        self,
        model: Any,
        data_split: Dataset,
        *,
        encode_kwargs: Any,
        hf_split: str,
        hf_subset: str,
        **kwargs: Any,
    ) -> dict[str, Any]:
        from sklearn.cluster import KMeans
        from sklearn.metrics import adjusted_mutual_info_score, v_measure_score

        options = {"encode_kwargs": encode_kwargs, "hf_split": hf_split, "hf_subset": hf_subset}
        vectors = encode_column(self, model, data_split, "sentences", **options)
        labels = data_split["labels"]
        amis, v_measures = [], []
        for seed in range(SEEDS):
            clusters = KMeans(len(set(labels)), n_init="auto", random_state=seed).fit_predict(
                vectors
            )
            amis.append(float(adjusted_mutual_info_score(labels, clusters)))
            v_measures.append(float(v_measure_score(labels, clusters)))
        return {
            "ami": float(np.mean(amis)),
            "v_measure": float(np.mean(v_measures)),
            "ami_per_seed": amis,
        }
