"""dec2vec: text embeddings from decoder-only language models, one method a page."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.evaluation.encoder import Encoder

__all__ = ["load_encoder"]


def load_encoder(method: str, *, model: str, adapter: Any = None, **overrides: Any) -> "Encoder":
    """An encoder by the names of conf/, resolved exactly as `dec2vec evaluate` resolves them.

    method: a name in conf/method. model: a name in conf/model, a folder, a .gguf file or a Hub id.
    adapter: a PEFT folder or a list of them, merged in that order.
    overrides: any field of the method or the model (`pooling="mean"`, `dtype="float32"`).

    >>> encoder = load_encoder("echo", model="smollm2_135m")          # doctest: +SKIP
    >>> vectors = encoder.encode(["a text"], prompt_type="query")     # doctest: +SKIP
    """
    from methods.evaluation.config import compose_encoder  # here, so that `import methods` is light

    return compose_encoder(method, model=model, adapter=adapter, overrides=overrides)
