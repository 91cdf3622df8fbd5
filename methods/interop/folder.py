"""Write the files of an exported sentence-transformers folder, but for its README."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from methods.backbone.attention import list_configs
from methods.backbone.loader import Backbone
from methods.backbone.trained_pooling import save_trained_pooling
from methods.base import Attention, Method
from methods.encoding.mteb_interface import describe_method
from methods.interop.bundle import ENTRY, write_code
from methods.interop.exported_module import SETTINGS
from methods.interop.prompts import Prompt
from methods.interop.stock import StockLayout, make_tokenizer, write_json, write_stock_modules


def write_weights(backbone: Backbone, attention: Attention, folder: Path) -> None:
    """Write the merged weights and a config.json that states the attention (`is_causal`)."""
    model = backbone.model
    configs = list_configs(model)
    before = [config.__dict__.get("is_causal") for config in configs]
    for config in configs:
        if attention == "bidirectional":
            config.is_causal = False
        elif getattr(config, "is_causal", None) is False:
            config.is_causal = True
    model.save_pretrained(folder)
    for config, value in zip(configs, before, strict=True):
        if value is None:
            config.__dict__.pop("is_causal", None)
        else:
            config.is_causal = value


def write_stock(layout: StockLayout, backbone: Backbone, folder: Path, *, dimension: int) -> None:
    """Write stock modules, their prompts, and a tokenizer that frames texts as they say."""
    write_stock_modules(layout, folder, dimension)
    make_tokenizer(layout, backbone.tokenizer).save_pretrained(folder)
    _write_model_config(
        folder,
        dict(layout.prompts),
        default="query" if layout.symmetric and layout.prompts["query"] else None,
    )


def write_custom(
    method: Method,
    backbone: Backbone,
    prompts: Iterable[Prompt],
    folder: Path,
    *,
    dimension: int,
) -> list[str]:
    """Write the method with its code, prompts and trained pooling; return the files of code.

    method: its layer resolved.
    """
    tokenizer = copy.deepcopy(backbone.tokenizer)
    tokenizer.chat_template = None  # it would wrap every text
    tokenizer.save_pretrained(folder)
    files = write_code(method, folder)
    described = describe_method(method)
    trained = backbone.trained_pooling
    prompts = list(prompts)
    write_json(
        folder / SETTINGS,
        {
            "class": described.pop("class"),
            "fields": described,
            "model": backbone.tokenizer.name_or_path,
            "prompts": {
                one.name: {"prompt": one.text, "side": one.side, "instruction": one.instruction}
                for one in prompts
            },
            "instruction": prompts[0].instruction,
            "trained_pooling": trained is not None,
            "dimension": dimension,
        },
    )
    if trained is not None:
        save_trained_pooling(trained, folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": ENTRY}]
    if method.normalize:
        kind = "sentence_transformers.models.Normalize"
        modules.append({"idx": 1, "name": "1", "path": "1_Normalize", "type": kind})
        (folder / "1_Normalize").mkdir(exist_ok=True)
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
        },
    )
    _write_model_config(folder, {one.name: one.text for one in prompts}, least=">=6")
    return files


def _write_model_config(
    folder: Path, prompts: dict[str, str], *, default: str | None = None, least: str | None = None
) -> None:
    """Write what the model as a whole is told. least: the sentence-transformers it needs."""
    config: dict[str, Any] = {
        "model_type": "SentenceTransformer",
        "prompts": prompts,
        "default_prompt_name": default,
        "similarity_fn_name": "cosine",
    }
    if least is not None:
        config["requirements"] = {"sentence-transformers": least}
    write_json(folder / "config_sentence_transformers.json", config)
