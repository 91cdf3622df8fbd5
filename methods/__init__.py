"""Text embeddings from decoder-only language models, one file per method."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from methods.encoding.encoder import Encoder

__all__ = ["load_encoder"]


def load_encoder(
    method: str | None = None,
    *,
    model: "str | os.PathLike[str] | None" = None,
    adapter: Any = None,
    cache: "str | os.PathLike[str] | None" = "auto",
    config_dir: "str | os.PathLike[str] | None" = None,
    instructions: str = "mteb",
    post: "str | None" = None,
    fit_on: "str | None" = None,
    **fields: Any,
) -> "Encoder":
    """Load an encoder by the names of conf/, resolved exactly as `dec2vec evaluate` resolves them.

    method: a name in conf/method (`dec2vec methods` lists them); None for the one that the adapter
        was trained with.
    model: a name in conf/model, a folder, a .gguf file or a Hub id; None for the method's own, else
        the one in conf/base.yaml.
    adapter: a PEFT folder or a list of them, merged in that order. What `dec2vec train` made is
        encoded as it was trained, but for the fields given here.
    cache: where vectors are cached between calls and processes, so that no text is encoded twice:
        `auto` for the folder that `dec2vec evaluate` uses ($DEC2VEC_EMBEDDINGS, else in the user's
        cache), another folder on a local disk, or None to compute every vector anew. Give None if
        you change the weights in a way that torch does not track (through `.data`).
    config_dir: a folder with method/*.yaml, model/*.yaml ... of your own, the modules that these
        name, and poolings of your own in pooling.py, as `--config-dir` is.
    instructions: a name in conf/instructions, for mteb's tasks and methods that use instructions.
    post: what is done to vectors after pooling: `dims:K`, `int8`, `binary`, or several joined by +
        (`dims:256+int8`). `encode` then returns codes; `encoder.restore(codes)` their vectors.
    fit_on: the texts that int8's ranges are measured on: `wikipedia` (the default), or a file.
    fields: one value for any field of the method (`attention`, `pooling`, `layer`, `max_length`,
        `normalize`, `template` ...: its class in methods/) or of the model (`dtype`, `device`,
        `kernel`, `packed`, `linears`, `batch_tokens` ...: BackboneSpec).
    Raises ValueError for what is unknown and for several values where an encoder has one.

    The model is shared with other encoders of the same model, adapter and dtype. Threads may share
    an encoder; passes of one model then wait for each other. `mteb.evaluate(encoder, tasks)` stores
    its results under the same model name, revision and experiment as `dec2vec evaluate`.

    >>> encoder = load_encoder("echo", model="smollm2_135m")          # doctest: +SKIP
    >>> vectors = encoder.encode(["a text"], prompt_type="query")     # doctest: +SKIP
    """
    from methods.config.encoders import compose_encoder  # here, so that `import methods` is light

    return compose_encoder(
        method,
        model=model,
        adapter=adapter,
        overrides=fields,
        cache=cache,
        config_dir=config_dir,
        instructions=instructions,
        post=post,
        fit_on=fit_on,
    )
