"""Watch one forward pass of a SentenceTransformer: what reaches its modules and its transformer.

B rows, L tokens of a row, D hidden size.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass
class Pass:
    """What was seen of one forward pass. change_last_of: a row of ids whose last token is changed
    before the transformer sees it. modules: features before and after each module."""

    change_last_of: list[int] | None = None
    ids_BL: Tensor | None = None
    mask_BL: Tensor | None = None
    hidden_BLD: Tensor | None = None
    modules: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]] = field(default_factory=list)


@contextmanager
def watch(model: Any, transformer: Any, seen: Pass) -> Iterator[None]:
    """Record in `seen` what passes through a model's modules in this block."""
    with ExitStack() as stack:
        before: list[dict[str, Any]] = []

        def enter(_part: nn.Module, args: tuple[Any, ...]) -> None:
            before.append(dict(args[0]))

        def leave(part: nn.Module, _args: Any, output: Any) -> None:
            seen.modules.append((part, before.pop(), dict(output)))

        for part in model.children():
            stack.callback(part.register_forward_pre_hook(enter).remove)
            stack.callback(part.register_forward_hook(leave).remove)
        if transformer is not None:
            stack.enter_context(_replace_forward(transformer, seen))
        yield


@contextmanager
def _replace_forward(transformer: Any, seen: Pass) -> Iterator[None]:
    """Record what reaches a transformer. Its `forward` is called, which hooks do not see."""
    original = transformer.forward

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        ids_BL = kwargs.get("input_ids", args[0] if args else None)
        if isinstance(ids_BL, Tensor):
            seen.ids_BL, mask = ids_BL, kwargs.get("attention_mask")
            seen.mask_BL = mask if isinstance(mask, Tensor) and mask.ndim == 2 else None
            if seen.change_last_of is not None:
                changed = _change_last(ids_BL, seen.change_last_of, transformer)
                args, kwargs = _put_ids(changed, args, kwargs)
        output = original(*args, **kwargs)
        hidden = getattr(output, "last_hidden_state", None)
        seen.hidden_BLD = hidden if isinstance(hidden, Tensor) else None
        return output

    own = vars(transformer).get("forward")
    transformer.forward = forward
    try:
        yield
    finally:
        del transformer.forward
        if own is not None:
            transformer.forward = own


def _put_ids(ids_BL: Tensor, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return (
        (args, {**kwargs, "input_ids": ids_BL})
        if "input_ids" in kwargs
        else (
            (ids_BL, *args[1:]),
            kwargs,
        )
    )


def _change_last(ids_BL: Tensor, row: list[int], transformer: Any) -> Tensor:
    changed_BL, found = ids_BL.clone(), locate(ids_BL, row)
    if found is not None:
        place = (found[0], found[1] + len(row) - 1)
        number = transformer.get_input_embeddings().num_embeddings
        changed_BL[place] = (changed_BL[place] + 1) % number
    return changed_BL


def locate(ids_BL: Tensor, row: list[int]) -> tuple[int, int] | None:
    """Return where a row of ids begins in a batch, padded on either side or not at all.

    None where the batch lacks it: its text is encoded otherwise there than alone.
    """
    for b, ids in enumerate(ids_BL.tolist()):
        for start in range(len(ids) - len(row) + 1):
            if ids[start : start + len(row)] == row:
                return b, start
    return None
