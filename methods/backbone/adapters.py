"""PEFT adapters merged into the weights, so that nothing after this knows they were there.

Released adapters were saved around the inner model (LLM2Vec) or around the model with its head
(Echo, PromptEOL, RepLLaMA); the latter's names carry one `model.` more, and the head's own rows
have nothing to do here. Everything else in the file must find its place, or the adapter is
another's.
"""

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

log = logging.getLogger(__name__)


def merge_adapter(model: Any, tokenizer: Any, adapter: str) -> tuple[Any, Any]:
    """The model with an adapter folder merged in, and the tokenizer with the tokens it brings.

    Raises ValueError for a folder without safetensors, for an adapter of another architecture or
    size, and for a file that is cut short.
    """
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoTokenizer

    folder = Path(adapter)
    weights = _weights(folder)
    if (folder / "tokenizer.json").is_file():
        own = AutoTokenizer.from_pretrained(folder)
        own.name_or_path, own.model_max_length = tokenizer.name_or_path, tokenizer.model_max_length
        tokenizer = own
        if len(own) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(own), mean_resizing=False)
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    try:
        wrapped = get_peft_model(model, config)
        state = _inner_names(weights, wrapped)
        result = set_peft_model_state_dict(wrapped, state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{_misfit(folder, model, config)}: {str(error)[:400]}") from error
    if result.unexpected_keys:
        raise ValueError(
            f"{_misfit(folder, model, config)}: no place for {result.unexpected_keys[0]}"
        )
    log.info("merging %s", folder)
    return wrapped.merge_and_unload(), tokenizer


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing"
        raise ValueError(
            f"{folder} has no adapter_model.safetensors, it has {found}; "
            f"other formats are not loaded: save the adapter again with PEFT"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} cannot be read, it may be cut short: {error}") from error


def _inner_names(weights: dict[str, Tensor], wrapped: Any) -> dict[str, Tensor]:
    """Saved weights under the names that a model without a head gives them."""
    own = {name.replace(".default.", ".") for name in wrapped.state_dict()}
    shorter = {n: n.replace("base_model.model.model.", "base_model.model.", 1) for n in weights}
    headed = not own & set(weights) and bool(own & set(shorter.values()))
    names = shorter if headed else {name: name for name in weights}
    return {names[name]: t for name, t in weights.items() if "lm_head" not in name}


def _misfit(folder: Path, model: Any, config: Any) -> str:
    return (
        f"adapter {folder} was made for {config.base_model_name_or_path!r} and does not fit "
        f"{type(model).__name__} with {model.config.num_hidden_layers} layers of width "
        f"{model.config.hidden_size}"
    )
