"""Convert a GGUF file to safetensors, and verify that no tensor is lost or missing.

transformers converts the tensors it has a name for and silently drops the rest, so the file's own
list of tensors is compared with the names that transformers knows.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
# Tensors of a block that hold no weights of their own, or experts, which are renamed as they load.
NO_WEIGHTS = re.compile(r"rope_freqs|rot_embd|_exps?\.|\.exp_probs")


def convert_gguf(file: Path, folder: Path) -> None:
    """Write a GGUF file's model (float32, with its head if it has one) and tokenizer to a folder.

    Raises ValueError, with the path, for a file that is cut short or does not fill its model.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    from methods.backbone.files import check_gguf
    from methods.backbone.verify import check_finite
    from methods.backbone.weights import load_verified

    check_gguf(file)
    names = _tensor_names(file)
    kind = AutoModelForCausalLM if "output.weight" in names else AutoModel
    options: dict[str, Any] = {"gguf_file": file.name, "dtype": torch.float32}
    model, _ = load_verified(kind, file.parent, where=str(file), **options)
    if left := _left_over(names, model):
        raise ValueError(
            f"{file} has {len(left)} of {len(names)} tensors that {type(model).__name__} has no "
            f"place for, first: {', '.join(left[:2])}. Its metadata (block_count, architecture) "
            f"does not fit its tensors, or transformers does not convert this architecture whole"
        )
    check_finite(model, str(file))
    # transformers refuses to save a model that is still marked as quantised.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def _tensor_names(file: Path) -> list[str]:
    """Return the names of a GGUF file's tensors. Raises ValueError for a file that is cut short."""
    from gguf import GGUFReader

    try:
        return [tensor.name for tensor in GGUFReader(file).tensors]
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(
            f"{file} cannot be read, it may be cut short: {error}; fetch it again"
        ) from error


def _left_over(names: Sequence[str], model: Any) -> list[str]:
    """Return the names of block weights that transformers has no name for."""
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    kind = TENSOR_PROCESSORS.get(model.config.model_type, TensorProcessor)
    known = get_gguf_hf_weights_map(model, kind(config=model.config.to_dict()))
    blocks = [n for n in names if n.startswith("blk.") and not NO_WEIGHTS.search(n)]
    return sorted(name for name in blocks if name not in known)
