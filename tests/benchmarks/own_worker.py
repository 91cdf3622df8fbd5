"""Encode texts with dec2vec, or with sentence-transformers in the same environment, as
references.py asks; reference_worker.py has the protocol."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from methods import load_encoder
from tests.benchmarks.baselines import Baselines
from tests.benchmarks.reference_worker import Inputs, serve


class Own:
    """Our encoder, without a cache."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.encoder = load_encoder(cache=None, **settings)
        dtype = self.encoder.backbone.identity["dtype"]
        self.about = f"torch {torch.__version__}, {dtype}"

    def tokenize(self, inputs: Inputs) -> list[list[int]]:
        tokenizer = self.encoder.backbone.tokenizer
        return self.encoder.method.prepare_inputs(inputs["texts"], tokenizer=tokenizer).ids

    def encode(self, inputs: Inputs) -> np.ndarray:
        return np.asarray(self.encoder.encode(inputs["texts"]))


class SentenceTransformers:
    """The same weights in sentence-transformers, as the other benchmarks run it.

    flash: with flash attention 2 and its unpadding, which needs a CUDA card and flash-attn.
    """

    def __init__(self, settings: dict[str, Any], *, flash: bool = False) -> None:
        self.baseline = Baselines(load_encoder(cache=None, **settings))
        self.baseline.st.max_seq_length = settings.get("max_length")
        self.about = f"sentence-transformers {version('sentence-transformers')}"
        if flash:
            module: Any = self.baseline.st[0]
            module.model.set_attn_implementation("flash_attention_2")
            module.unpad_inputs = True
            if not module.can_flatten_inputs:
                raise RuntimeError("sentence-transformers cannot unpad inputs of this model")
            self.about += ", flash attention 2, unpadded inputs"

    def tokenize(self, inputs: Inputs) -> list[list[int]]:
        cut = {"truncation": True, "max_length": self.baseline.st.max_seq_length}
        texts = [text.strip() for text in inputs["texts"]]
        return self.baseline.tokenizer(texts, **cut)["input_ids"]

    def encode(self, inputs: Inputs) -> np.ndarray:
        return self.baseline.sentence_transformers(inputs["texts"])


def main() -> None:
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(1)
    if kind == "own":
        serve(lambda: Own(settings))
    else:
        serve(lambda: SentenceTransformers(settings, flash=kind == "flash"))


if __name__ == "__main__":
    main()
