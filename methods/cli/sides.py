"""Trace what a word of `dec2vec compare` names: a method, a sentence-transformers model, vectors.

A word is a source and its options, as in a shell: `"method=sgpt model=tiny"`, `"st:DIR
max_seq_length=128"`, `vectors:FILE`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from methods.base import PromptType
from methods.cli.try_ import parse_value
from methods.config.names import list_choices
from methods.fields import nearest
from methods.interop.stages import EncoderStages
from methods.interop.trace_vectors import SUFFIXES, read_vectors, trace_vectors

# Options of a sentence-transformers model: of its load, of it, and of each call.
LOAD = ("dtype", "attn_implementation", "device", "trust_remote_code", "revision", "backend")
CALL = ("prompt", "prompt_name", "normalize_embeddings", "truncate_dim", "batch_size")
ST_OPTIONS = (*LOAD, "max_seq_length", *CALL)
SHARED = ("dtype", "device")  # options that mean the same to both libraries
VALID = (
    'a method ("sgpt model=tiny pooling=mean"), an adapter (adapter=DIR), a sentence-transformers '
    "model (st:DIR, st:ORG/NAME or an exported folder), or a file of vectors (vectors:FILE.npy)"
)


@dataclass(frozen=True)
class Side:
    """What one of the two words names. word: as it was typed."""

    word: str
    kind: Literal["method", "st", "vectors"]
    source: str
    options: Mapping[str, Any]


def parse_side(word: str, shared: Mapping[str, Any], *, config_dir: str | None = None) -> Side:
    """Read a word. shared: options for both sides. Raises ValueError for what names no encoder."""
    try:
        parts = shlex.split(word)
    except ValueError as error:
        raise ValueError(f"{word!r}: {error}; quote a value as in a shell") from None
    if not parts:
        raise ValueError(f"an encoder is empty; valid: {VALID}")
    source = parts.pop(0) if _is_source(parts[0]) else ""
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{part!r} in {word!r} is no option KEY=VALUE")
        if key in options:
            raise ValueError(f"{word!r} gives {key} twice")
        options[key] = parse_value(key, value)
    kind, name = _find_kind(source, options, word, config_dir)
    if kind == "st":
        if unknown := sorted(options.keys() - set(ST_OPTIONS)):
            raise ValueError(
                f"{word!r}: {unknown[0]} is no option of a sentence-transformers model; valid: "
                f"{', '.join(ST_OPTIONS)}{nearest(unknown[0], ST_OPTIONS)}"
            )
        options = {**{key: shared[key] for key in SHARED if key in shared}, **options}
    elif kind == "method":
        options = {"cache": None, **shared, **options}
        if config_dir is not None:
            options["config_dir"] = config_dir
    elif options:
        raise ValueError(f"{word!r}: a file of vectors has no options")
    return Side(word, kind, name, options)


def _is_source(part: str) -> bool:
    return part.startswith(("st:", "vectors:")) or "=" not in part or Path(part).exists()


def _find_kind(
    source: str, options: dict[str, Any], word: str, config_dir: str | None
) -> tuple[Literal["method", "st", "vectors"], str]:
    """Return what a source is, and its name. Takes method= out of the options."""
    prefix, colon, rest = source.partition(":")
    if colon and prefix in ("st", "vectors"):
        if not rest:
            raise ValueError(f"{word!r} names nothing after {prefix}:")
        return prefix, rest  # pyright: ignore[reportReturnType]
    methods = list_choices("method", config_dir=config_dir)
    if not source or source in methods:
        name = source or str(options.pop("method", ""))
        if not name and "adapter" not in options:
            raise ValueError(f"{word!r} names no encoder; A and B come first, each is {VALID}")
        return "method", name
    place = Path(source).expanduser()
    if place.is_dir():
        return "st", _check_folder(place)
    if place.suffix in SUFFIXES:
        return "vectors", source
    advice = f"; did you mean st:{source}?" if source.count("/") == 1 else nearest(source, methods)
    raise ValueError(f"{source!r} is no method, folder or file; valid: {VALID}{advice}")


def _check_folder(folder: Path) -> str:
    """Return a folder that sentence-transformers loads. Raises ValueError for an adapter's."""
    if (folder / "adapter_config.json").is_file() and not (folder / "modules.json").is_file():
        raise ValueError(
            f"{folder} is an adapter: as it was trained by dec2vec, adapter={folder}; as "
            f"sentence-transformers loads it, st:{folder}"
        )
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise ValueError(f"{folder} has neither modules.json nor config.json: it holds no model")
    return str(folder)


def trace_side(
    side: Side,
    texts: Sequence[str],
    *,
    prompt_type: PromptType | None = None,
    instruction: str | None = None,
) -> EncoderStages:
    """Load what a side names, and return its stages; the model is not held afterwards."""
    if side.kind == "vectors":
        file = Path(side.source).expanduser()
        return trace_vectors(read_vectors(file), number=len(texts), name=side.word)
    if side.kind == "method":
        from methods import load_encoder
        from methods.interop.trace_encoder import trace_encoder

        encoder = load_encoder(side.source or None, **side.options)
        how: Any = {"side": prompt_type, "instruction": instruction, "name": side.word}
        return trace_encoder(encoder, texts, **how)
    from methods.interop.trace_sentence_transformer import trace_sentence_transformer

    model = load_sentence_transformer(side)
    options = {key: value for key, value in side.options.items() if key in CALL}
    return trace_sentence_transformer(
        model, texts, side=prompt_type, name=side.word, options=options
    )


def load_sentence_transformer(side: Side) -> Any:
    """Load a side's sentence-transformers model. Raises ValueError where it cannot be."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    options = side.options
    load = {key: options[key] for key in LOAD if key in options}
    model_kwargs = {
        key: load.pop(key)
        for key in ("dtype", "attn_implementation")
        if load.get(key, "auto") != "auto"
    }
    load.pop("dtype", None)
    if load.get("device") == "auto":
        del load["device"]
    source = str(Path(side.source).expanduser())
    try:
        model = SentenceTransformer(source, model_kwargs=model_kwargs, **load)
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{side.source} cannot be loaded: {error}") from error
    except ValueError as error:
        fault = " ".join(str(error).split())
        if "trust_remote_code" in fault:
            fault = "it holds code of its own; if you trust that, add trust_remote_code=true"
        raise ValueError(f"{side.source} cannot be loaded: {fault}") from error
    if "max_seq_length" in options:
        model.max_seq_length = options["max_seq_length"]
    return model
