"""Detect whether a model was changed after it was loaded: cached vectors are keyed by its files.

Detected are other parameters, parameters changed in place, hooks, training mode, and replaced
`forward` methods of modules. Not detected are writes through `.data` and values that are no
parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def remember_loaded(model: Any) -> None:
    """Record a model's state just after loading, for `differs_from_loaded`."""
    vars(model)["_dec2vec_loaded"] = _state(model)


def differs_from_loaded(model: Any) -> bool:
    """Return whether a model differs from the one that was loaded; also true for a copy of it."""
    return vars(model).get("_dec2vec_loaded") != _state(model)


def _state(model: nn.Module) -> list[Any]:
    state: list[Any] = []
    waiting = [model]
    while waiting:  # every call for vectors waits for this; `modules()` takes as long as all of it
        module = waiting.pop()
        own = vars(module)
        waiting += (child for child in own["_modules"].values() if child is not None)
        # `packed` is the weight of a linear layer that was repacked for oneDNN
        state += (id(module), own["training"], id(own.get("packed")))
        if any(map(own.get, HOOKS)):
            state += (id(h) for n in HOOKS for h in own[n].values() if not _is_transformers(h))
        if (forward := own.get("forward")) is not None:
            if getattr(forward, "__func__", forward) is not type(module).forward:  # not put back
                state.append(id(forward))
        for weight in filter(torch.is_tensor, own["_parameters"].values()):
            # a tensor made under inference_mode does not count its changes
            version = 0 if weight.is_inference() else weight._version
            state += (id(weight), weight.data_ptr(), version)
    return state


def _is_transformers(hook: Any) -> bool:
    """Return whether a hook is one that transformers leaves behind, which changes no state."""
    return str(getattr(hook, "__module__", "")).startswith("transformers.")
