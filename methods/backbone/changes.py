"""Whether a loaded model is still the one that was loaded, for who stores vectors under its name.

Seen are other parameters, parameters changed in place, hooks, training mode, and replaced `forward`
methods of modules. Not seen are writes through `.data` and values that are no parameters.
"""

from __future__ import annotations

from typing import Any

from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def note_loaded(model: Any) -> None:
    """Remember a model as it is, just loaded."""
    vars(model)["_dec2vec_loaded"] = _state(model)


def changed_since_load(model: Any) -> bool:
    """Whether a model differs from the one that was loaded; true of a copy of it, too."""
    return vars(model).get("_dec2vec_loaded") != _state(model)


def _state(model: nn.Module) -> list[Any]:
    state: list[Any] = []
    for module in model.modules():
        own = vars(module)
        hooks = [id(hook) for name in HOOKS for hook in own[name].values() if not _watches(hook)]
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


def _watches(hook: Any) -> bool:
    """Whether a hook is one that transformers leaves behind, which changes nothing."""
    return str(getattr(hook, "__module__", "")).startswith("transformers.")
