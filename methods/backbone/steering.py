"""Let a method change states between the layers of one pass.

A site is a place in the pass: ("input", k) is what decoder layer k reads, counted from 0, which is
the state after k layers; ("heads", k) is what the output projection of its attention reads. States
are read for pooling before they are changed there.

B rows of a batch, T tokens of all its rows, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from torch import Tensor, nn

from methods.backbone.packed_batch import move
from methods.backbone.structure import find_decoder_layers, find_output_projection
from methods.steering import Places, Site

Marks = Mapping[str, Sequence[Sequence[int]]]
# From a model, and where rows begin in its batch and how long they are, to a block with the hooks.
Steer = Callable[[Any, np.ndarray, np.ndarray], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class Steering:
    """What is changed in a pass. change: a method's `steer`. rows_per_text: rows that are computed
    in one batch, since one may be changed by another."""

    name: str
    sites: Sequence[Site]
    change: Callable[[Site, Tensor, Places], Tensor]
    rows_per_text: int = 1

    def start(self, rows: Sequence[int], marks: Marks) -> Steer:
        """Return what sets the hooks of one batch, once it is known where its rows begin.

        rows: which rows the batch holds, in its order. marks: of all rows there are.
        """
        return partial(self._hook, rows, marks)

    @contextmanager
    def _hook(
        self,
        rows: Sequence[int],
        marks: Marks,
        model: Any,
        starts: Sequence[int] | np.ndarray,
        lengths: Sequence[int] | np.ndarray,
    ) -> Iterator[None]:
        device = model.get_input_embeddings().weight.device
        places = find_places(rows, starts, lengths, marks, device)
        layers = find_decoder_layers(model)
        with ExitStack() as stack:
            for kind, layer in self.sites:
                module = layers[layer]
                if kind == "heads":
                    module = find_output_projection(module)
                hook = self._make_hook((kind, layer), places)
                stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            yield

    def _make_hook(self, site: Site, places: Places) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given: Tensor = args[0] if args else kwargs["hidden_states"]
            flat_TD = given.flatten(0, -2).clone()
            made: Any = self.change(site, flat_TD, places)
            if not isinstance(made, Tensor) or made.shape != flat_TD.shape:
                got = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
                raise ValueError(
                    f"{self.name}.steer returned {got} at {site}; it returns the states it was "
                    f"given, {list(flat_TD.shape)}, with other values"
                )
            made = made.to(given.dtype).view_as(given)
            return (
                ((made, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": made})
            )

        return hook


def find_places(
    rows: Sequence[int],
    starts: Sequence[int] | np.ndarray,
    lengths: Sequence[int] | np.ndarray,
    marks: Marks,
    device: Any,
) -> Places:
    """Return the places of a batch's tokens.

    rows: which rows the batch holds, in its order; starts, lengths: of each in the batch. marks: of
    all rows there are.
    """
    order = sorted(range(len(rows)), key=lambda place: rows[place])  # text by text
    first = [int(starts[place]) for place in order]
    last = [at + int(lengths[place]) - 1 for at, place in zip(first, order, strict=True)]
    marked = {
        name: list(
            chain.from_iterable(
                [int(starts[place]) + at for at in found[rows[place]]] for place in order
            )
        )
        for name, found in marks.items()
    }
    made = {name: move(np.array(at, np.int64), device) for name, at in marked.items()}
    ends = [move(np.array(at, np.int64), device) for at in (first, last)]
    return Places(ends[0], ends[1], made)
