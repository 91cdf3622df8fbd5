"""The same weights, ids and pooling, run as others run them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Baselines:
    """Mean pooling by sentence-transformers, mteb's wrapper and a loop as papers' codes have it."""

    def __init__(self, encoder: Any) -> None:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from transformers import AutoTokenizer

        dtype = encoder.backbone.identity["dtype"]
        self.device = encoder.backbone.choices["device"]
        weights = Path(encoder.backbone.model.config.name_or_path)
        with tempfile.TemporaryDirectory() as folder:
            for file in weights.glob("*"):
                if file.name == "config.json" or file.suffix == ".safetensors":
                    (Path(folder) / file.name).symlink_to(file)
            tokenizer = AutoTokenizer.from_pretrained(weights)
            tokenizer.chat_template = None  # it would add 26 tokens to every text
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            tokenizer.save_pretrained(folder)
            module = Transformer(folder, model_kwargs={"dtype": getattr(torch, dtype)})
        pooling = Pooling(module.get_embedding_dimension(), pooling_mode="mean")
        self.st = SentenceTransformer(modules=[module, pooling], device=self.device)
        self.tokenizer: Any = module.tokenizer
        self.hf = module.model

    def sentence_transformers(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.st.encode(texts, batch_size=32, show_progress_bar=False))

    def mteb_wrapper(self, texts: list[str]) -> np.ndarray:
        """mteb's own way to run a sentence-transformers model, as a task calls it."""
        import mteb
        from datasets import Dataset
        from mteb.models import SentenceTransformerEncoderWrapper
        from torch.utils.data import DataLoader

        wrapper = SentenceTransformerEncoderWrapper(self.st)
        loader = DataLoader(Dataset.from_dict({"text": texts}), batch_size=32)  # pyright: ignore
        task = mteb.get_task("STSBenchmark").metadata
        return np.asarray(
            wrapper.encode(
                loader,
                task_metadata=task,
                hf_split="test",
                hf_subset="default",
                batch_size=32,
                show_progress_bar=False,
            )
        )

    @torch.inference_mode()
    def official_loop(self, texts: list[str]) -> np.ndarray:
        """Batches in the order given, padded to their longest, every layer's states in memory."""
        found = []
        for start in range(0, len(texts), 32):
            batch = self.tokenizer(
                texts[start : start + 32], padding=True, return_tensors="pt", truncation=True
            ).to(self.device)
            states = self.hf(**batch, output_hidden_states=True).hidden_states[-1]
            mask = batch["attention_mask"][..., None]
            found.append(((states * mask).sum(1) / mask.sum(1)).float().cpu().numpy())
        return np.concatenate(found)
