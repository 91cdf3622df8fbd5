"""Poolings that are trained: what stands between a model's hidden states and one vector.

A pooler is trained with an adapter, lies beside it as pooler.safetensors, and is part of what the
adapter is: whoever reads with the adapter reads through it. A method still pools by its own mask,
so every method can be trained with either.

`latent_attention` (NV-Embed, Lee et al., arXiv 2405.17428; the released models' code): every token
    attends to trained latents, then the method pools. 1. Its unit length is the method's business
    (`normalize`) here.
`multi_layer` (Pooling and Attention, Tang and Yang, arXiv 2409.02727; code
    yixuantt/PoolingAndAttn @ccb7a76): the method pools every layer, a trained row for each layer is
    added, trained latents attend to the layers, and their mean is the vector. 1. The code takes its
    mask from `ids != pad`, which loses an EOS that is also the padding; here it is the
    method's mask. 2. As above.

Sizes of both are those of a 7B model (8 heads of 4,096 and 512 latents; 32 of 2,048 and 768).

B rows, L positions, D hidden size, K layers, R latents, Q queries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.backbone.files import check_safetensors
from methods.fields import build, check_fields

FILE = "pooler.safetensors"
PoolerKind = Literal["latent_attention", "multi_layer"]


@dataclass(frozen=True, kw_only=True)
class PoolerSpec:
    """Which pooler, and its sizes. head_size: None for the model's hidden size."""

    kind: PoolerKind
    latents: int = 512
    heads: int = 8
    head_size: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, key="pooler.")
        for name in ("latents", "heads", "head_size"):
            if (size := getattr(self, name)) is not None and size < 1:
                raise ValueError(f"pooler.{name} is {size}; it is 1 or more")


class Pooler(nn.Module):
    """Calling it with states {layer: hidden_BLD} and a method's pooling gives vectors [B, D].

    layers: the layers that one vector needs, as `forward` counts them.
    """

    def __init__(self, spec: PoolerSpec, *, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.spec = spec
        head_size = spec.head_size or hidden_size
        self.latents = nn.Parameter(torch.randn(spec.latents, hidden_size))
        self.block = CrossAttention(hidden_size, heads=spec.heads, head_size=head_size)
        self.layers = [-1]
        if spec.kind == "multi_layer":
            self.layers = [*range(1, num_layers), -1]
            self.places = nn.Parameter(torch.randn(num_layers, hidden_size))

    def forward(self, states: Mapping[int, Tensor], pool: Callable[[Tensor], Tensor]) -> Tensor:
        if self.spec.kind == "latent_attention":
            hidden_BLD = states[-1].float()
            return pool(self.block(hidden_BLD, self.latents.expand(len(hidden_BLD), -1, -1)))
        pooled_BKD = torch.stack([pool(states[layer]) for layer in self.layers], dim=1)
        queries_BRD = self.latents.expand(len(pooled_BKD), -1, -1)
        return self.block(queries_BRD, pooled_BKD + self.places).mean(1)


class CrossAttention(nn.Module):
    """Queries [B, Q, D] attend to a context [B, K, D], then a gated layer; both residual, over
    normalised inputs (Perceiver, arXiv 2103.03206)."""

    def __init__(self, size: int, *, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries, self.norm_context = nn.LayerNorm(size), nn.LayerNorm(size)
        self.to_queries = nn.Linear(size, heads * head_size, bias=False)
        self.to_keys = nn.Linear(size, heads * head_size, bias=False)
        self.to_values = nn.Linear(size, heads * head_size, bias=False)
        self.out = nn.Linear(heads * head_size, size, bias=False)
        self.norm = nn.LayerNorm(size)
        self.widen, self.narrow = nn.Linear(size, 8 * size), nn.Linear(4 * size, size)

    def forward(self, queries_BQD: Tensor, context_BKD: Tensor) -> Tensor:
        context_BKD = self.norm_context(context_BKD)
        read_BHQD = functional.scaled_dot_product_attention(
            self._split(self.to_queries(self.norm_queries(queries_BQD))),
            self._split(self.to_keys(context_BKD)),
            self._split(self.to_values(context_BKD)),
        )
        states_BQD = queries_BQD + self.out(read_BHQD.transpose(1, 2).flatten(2))
        values, gates = self.widen(self.norm(states_BQD)).chunk(2, dim=-1)
        return states_BQD + self.narrow(values * functional.gelu(gates))

    def _split(self, states_BQE: Tensor) -> Tensor:
        return states_BQE.unflatten(2, (self.heads, -1)).transpose(1, 2)


def save_pooler(pooler: Pooler, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write pooler.safetensors, its sizes in the file's own header.

    state: its weights, if they are not the module's own.
    """
    from safetensors.torch import save_file

    state = pooler.state_dict() if state is None else state
    state = {name: part.detach().contiguous() for name, part in state.items()}
    save_file(state, folder / FILE, metadata={"pooler": json.dumps(asdict(pooler.spec))})


def pooler_of(adapters: Sequence[str], config: Any, device: str) -> Pooler | None:
    """The pooler of the last adapter; none before it may have one, since vectors end there.

    config: the model's own text config.
    """
    found = None
    for adapter in adapters:
        if found is not None:
            raise ValueError(
                f"{adapter} has a parent adapter with a {found.spec.kind} pooler, which pools what "
                f"that adapter left; give the adapter with the pooler last"
            )
        found = load_pooler(
            Path(adapter), hidden_size=config.hidden_size, num_layers=config.num_hidden_layers
        )
    return None if found is None else found.to(device)


def load_pooler(folder: Path, *, hidden_size: int, num_layers: int) -> Pooler | None:
    """An adapter folder's pooler, frozen; None if it has none. Raises ValueError if it is cut
    short or of another model."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    file = folder / FILE
    if not file.is_file():
        return None
    check_safetensors(file)
    try:
        with safe_open(file, framework="pt") as opened:
            about = (opened.metadata() or {}).get("pooler")
        if about is None:
            raise ValueError(f"{file} does not say which pooler it is; train it again")
        spec = build(PoolerSpec, json.loads(about), key="pooler")
        pooler = Pooler(spec, hidden_size=hidden_size, num_layers=num_layers)
        pooler.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit this model: {str(error)[:300]}") from error
    return pooler.eval().requires_grad_(False)
