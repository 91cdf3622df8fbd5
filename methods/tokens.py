"""What a tokenizer does with texts: checks, ids, and the tokens it puts around a text.

Ids are never built by a tokenizer's `add_bos_token`/`add_eos_token` flags: transformers 5 ignores
them or drops the other special token. What a tokenizer adds by itself is *measured* (`added_by`),
and a method puts its own special tokens there by id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

log = logging.getLogger(__name__)


def check_texts(texts: Any) -> list[str]:
    """Return an iterable of texts as a list of plain strings, in its order.

    Raises ValueError, naming the text, for what is no text or cannot be encoded as UTF-8.
    """
    if isinstance(texts, str):
        raise ValueError("encode takes a list of texts; for one text pass [text]")
    listed = isinstance(texts, Iterable) and getattr(texts, "ndim", 1) == 1  # no table, no scalar
    if not listed or isinstance(texts, bytes | bytearray | Mapping | Set):
        raise ValueError(
            f"encode takes a list of texts, not {type(texts).__name__}; pass list(...) of strings "
            f"in the order their vectors should have"
        )
    return [check_text(text, name=f"text {index}") for index, text in enumerate(texts)]


def check_text(text: Any, *, name: str) -> str:
    """Return one text as a plain string. Raises ValueError, under `name`, for what is none."""
    if not isinstance(text, str):
        advice = "; decode it: .decode('utf-8')" if isinstance(text, bytes) else ""
        raise ValueError(f"{name} is {type(text).__name__}, not a string{advice}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has a lone surrogate ({text[error.start]!r} at character {error.start}): "
            f"no tokenizer accepts it; use text.encode('utf-8', 'replace').decode('utf-8')"
        ) from None
    return str.__str__(text)  # numpy's strings and other subclasses become plain ones


def tokenize(texts: Sequence[str], *, tokenizer: Any) -> list[list[int]]:
    """Return the ids of each text alone, with nothing added."""
    return run_tokenizer(texts, tokenizer)["input_ids"] if texts else []


def first_tokens(text: str, number: int, *, tokenizer: Any) -> str:
    """Return a text's beginning, whole characters that make at most `number` tokens."""
    offsets = run_tokenizer([text], tokenizer, return_offsets_mapping=True)["offset_mapping"][0]
    end = offsets[number - 1][1] if len(offsets) > number else len(text)
    # A token may be part of a character, and the last ones may tokenize differently at an end.
    while end and len(tokenize([text[:end]], tokenizer=tokenizer)[0]) > number:
        end -= 1
    return text[:end]


def run_tokenizer(texts: Sequence[str], tokenizer: Any, **options: Any) -> Any:
    """Return what a tokenizer makes of texts alone. Raises ValueError for what is no text."""
    try:
        return tokenizer(list(texts), add_special_tokens=False, **options)
    except (TypeError, ValueError):
        check_texts(texts)  # raises an error that names the text
        raise


def added_by(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids a tokenizer adds before and after a text by itself, measured on one text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return tuple(full[:start]), tuple(full[start + len(bare) :])
    raise ValueError(
        f"cannot tell what {type(tokenizer).__name__} adds to a text: {bare} in {full}"
    )


def bos_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokenizer's BOS, or nothing where the model has no such token (Qwen)."""
    return () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)


def eos_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokenizer's EOS, logging once where the tokenizer ends texts with another."""
    eos = _eos_ids(tokenizer)
    note_ending(tokenizer, eos)
    return eos


def note_ending(tokenizer: Any, ending: tuple[int, ...] = ()) -> None:
    """Log once a tokenizer that what it appends to a text by itself is left out.

    ending: the ids that the method puts after the text instead; a method whose rows end as the
    tokenizer ends them has nothing to note.
    """
    if getattr(tokenizer, "ending_noted", False):
        return
    own = added_by(tokenizer)[1]
    if own and own != ending:
        tokenizer.ending_noted = True
        left, taken = (
            " ".join(tokenizer.convert_ids_to_tokens(list(ids))) for ids in (own, ending)
        )
        log.warning(
            "the tokenizer of %r ends a text with %s by itself; this method leaves that out and "
            "ends it with %s",
            tokenizer.name_or_path,
            left,
            taken or "nothing",
        )


def clean_sentence(text: str) -> str:
    """Return a text as PromptEOL and the methods after it put it between double quotes.

    A full stop where no . ? " or ' ends it, double quotes become single ones, a final question
    mark becomes a full stop; an empty text stays empty (kongds/scaling_sentemb @8567aa0).
    """
    if text and text[-1] not in ".?\"'":
        text += "."
    text = text.replace('"', "'")
    return text[:-1] + "." if text.endswith("?") else text


def empty_row_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return what a row without any token is encoded as: the BOS, or the EOS if there is none."""
    return bos_ids(tokenizer) or _eos_ids(tokenizer)


def _eos_ids(tokenizer: Any) -> tuple[int, ...]:
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no EOS token; a method that pools "
            f"one cannot run on it. Set tokenizer.eos_token, or use a method that pools the text."
        )
    return (tokenizer.eos_token_id,)


def token_ids(*tokens: str, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of tokens that must be in the vocabulary. Raises ValueError for one that is
    not."""
    vocabulary = tokenizer.get_vocab()
    if missing := [token for token in tokens if token not in vocabulary]:
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} lacks {', '.join(missing)}; an adapter "
            f"that was trained with these tokens brings them and their rows (adapter=DIR)"
        )
    return tuple(vocabulary[token] for token in tokens)
