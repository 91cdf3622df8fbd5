"""Pool hidden states by trained modules: from a model's states to one vector.

A trained pooling belongs to an adapter: it lies in the adapter's folder as pooler.safetensors, and
encoding with the adapter uses it. A method still pools by its own mask, so every method can be
trained with either kind.

`latent_attention` (NV-Embed, Lee et al., arXiv 2405.17428; the released models' code): every token
    attends to trained latents, then the method pools. 1. Here the method (`normalize`) brings the
    vector to unit length.
`multi_layer` (Pooling and Attention, Tang and Yang, arXiv 2409.02727; code
    yixuantt/PoolingAndAttn @ccb7a76): the method pools every layer, a trained row for each layer is
    added, trained latents attend to the layers, and their mean is the vector. 1. The code takes its
    mask from `ids != pad`, which excludes an EOS that is also the padding token; here it is the
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
TrainedPoolingKind = Literal["latent_attention", "multi_layer"]


@dataclass(frozen=True, kw_only=True)
class TrainedPoolingSpec:
    """The kind of a trained pooling, and its sizes. head_size: None for the model's hidden size."""

    kind: TrainedPoolingKind
    latents: int = 512
    heads: int = 8
    head_size: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, key="pooler.")
        for name in ("latents", "heads", "head_size"):
            if (size := getattr(self, name)) is not None and size < 1:
                raise ValueError(f"pooler.{name} is {size}; it is 1 or more")


class TrainedPooling(nn.Module):
    """A module from states {layer: hidden_BLD} and a method's pooling to vectors [B, D].

    layers: the layers that one vector needs, as `forward` counts them.
    """

    def __init__(self, spec: TrainedPoolingSpec, *, hidden_size: int, num_layers: int) -> None:
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
    """Attention from queries [B, Q, D] to a context [B, K, D], then a gated layer; both residual,
    over normalised inputs (Perceiver, arXiv 2103.03206)."""

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


def save_trained_pooling(
    pooling: TrainedPooling, folder: Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """Write pooler.safetensors, with kind and sizes in the file's header.

    state: the weights, if they are not the module's own.
    """
    from safetensors.torch import save_file

    state = pooling.state_dict() if state is None else state
    state = {name: part.detach().contiguous() for name, part in state.items()}
    save_file(state, folder / FILE, metadata={"pooler": json.dumps(asdict(pooling.spec))})


def load_last_trained_pooling(
    adapters: Sequence[str], config: Any, device: str
) -> TrainedPooling | None:
    """Return the trained pooling of the last adapter, or None.

    config: the model's own text config. Raises ValueError where an earlier adapter has one: the
    later adapter was trained on states that this pooling then reads changed.
    """
    found = None
    for adapter in adapters:
        if found is not None:
            raise ValueError(
                f"{adapter} has a parent adapter with a {found.spec.kind} pooling, which was "
                f"trained on that adapter's states; give the adapter with the trained pooling last"
            )
        found = load_trained_pooling(
            Path(adapter), hidden_size=config.hidden_size, num_layers=config.num_hidden_layers
        )
    return None if found is None else found.to(device)


def load_trained_pooling(
    folder: Path, *, hidden_size: int, num_layers: int
) -> TrainedPooling | None:
    """Return an adapter folder's trained pooling, frozen; None if it has none.

    Raises ValueError for a file that is cut short or of another model.
    """
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
            raise ValueError(f"{file} does not name the kind of its pooling; train it again")
        spec = build(TrainedPoolingSpec, json.loads(about), key="pooler")
        pooling = TrainedPooling(spec, hidden_size=hidden_size, num_layers=num_layers)
        pooling.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit this model: {str(error)[:300]}") from error
    return pooling.eval().requires_grad_(False)
