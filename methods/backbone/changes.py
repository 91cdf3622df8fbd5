"""Detect whether a model was changed after it was loaded: cached vectors are keyed by its files.

Detected are other parameters, parameters changed in place, hooks, training mode, and replaced
`forward` methods of modules. Not detected are writes through `.data` and values that are no
parameters.
"""

from __future__ import annotations

from typing import Any

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
    for module in model.modules():
        own = vars(module)
        hooks = [id(h) for name in HOOKS for h in own[name].values() if not _is_transformers(h)]
        forward = own.get("forward")  # one that was put back is the class's own again
        replaced = getattr(forward, "__func__", forward) not in (None, type(module).forward)
        # `packed` is the weight of a linear layer that was repacked for oneDNN
        state.append(
            (id(module), module.training, *hooks, replaced and id(forward), id(own.get("packed")))
        )
    for weight in model.parameters():
        # a tensor made under inference_mode does not count its changes
        version = 0 if weight.is_inference() else weight._version
        state.append((id(weight), weight.data_ptr(), version))
    return state


def _is_transformers(hook: Any) -> bool:
    """Return whether a hook is one that transformers leaves behind, which changes no state."""
    return str(getattr(hook, "__module__", "")).startswith("transformers.")
