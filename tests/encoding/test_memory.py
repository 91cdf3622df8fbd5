"""How many bytes a batch takes on a card: counted on tensors without contents, at 7B sizes.

Every operation runs on torch's meta device, where a tensor has a size and no contents; what is
counted is what an allocator would be asked for.
"""

import random
import weakref
from dataclasses import dataclass, replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from methods.backbone.forward import forward
from methods.backbone.loader import Backbone
from methods.backbone.tiny import make_byte_tokenizer
from methods.base import Inputs
from methods.encoding import batch_pooling
from methods.encoding.batch_pooling import BatchPooling
from methods.sgpt import SGPT

BUDGET = 32768
# Bytes for each token of the budget, beside the weights. In a layer's MLP a token holds its state,
# the normalised one, gate, its activation and up: 2 x (2 x 4,096 + 3 x 14,336) = 102 kB. Pooling's
# parts are bounded by themselves, and vectors that are asked for come on top.
BYTES_A_TOKEN = 125_000
MISTRAL = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": None,
}


class Memory(TorchDispatchMode):
    """Bytes of the storages that are alive, and the most there were at once."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        tree_map(self.note, found)
        return found

    def note(self, tensor):
        if not isinstance(tensor, torch.Tensor) or tensor.device.type != "meta":
            return
        storage = tensor.untyped_storage()
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.free, size)

    def free(self, size):
        self.live -= size


@pytest.fixture(scope="module")
def mistral():
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model("mistral", **MISTRAL)
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    both = frozenset({"causal", "bidirectional"})
    return Backbone(
        model=model.eval().requires_grad_(False),
        tokenizer=make_byte_tokenizer(),
        identity={"name": "x/y", "dtype": "bfloat16"},
        choices={},
        num_layers=32,
        max_positions=32768,
        batch_tokens=BUDGET,
        attentions=both,
        packed=both,
        packed_layout="varlen",
    )


def draw(low, high, number):
    chance = random.Random(0)
    return [chance.randrange(low, high) for _ in range(number)]


MIXES = {
    "equal": [512] * 64,
    "one long among 440": [2000, *draw(20, 120, 440)],
    "one long among 1,700": [1800, *draw(8, 30, 1700)],
    "passages": [min(512, max(8, round(2 ** (n / 20)))) for n in draw(80, 190, 400)],
}


@dataclass(frozen=True, kw_only=True)
class Middle(SGPT):
    """A pooling of its own."""

    def pool(self, hidden_BLD, inputs):
        return hidden_BLD[:, 0] + super().pool(hidden_BLD, inputs)


def measure(backbone, lengths, cells, *, prefix=0, monkeypatch):
    """The peak bytes of a pass beyond the weights, and the number of batches."""
    monkeypatch.setattr(batch_pooling, "fetch", lambda vectors: vectors)
    # transformers looks into the positions, and makes no mask in the end
    name = "transformers.masking_utils.find_packed_sequence_indices"
    monkeypatch.setattr(name, lambda position_ids: None)
    rows = [[3] * prefix + [4 + k % 300] + [5] * (n - 1) for k, n in enumerate(lengths)]
    inputs = Inputs(rows, [[True] * len(row) for row in rows])
    layers = sorted({cell.layer for cell in cells})
    with Memory() as memory:
        found = forward(
            backbone,
            inputs,
            attention=cells[0].attention,
            layers=layers,
            make_reader=lambda batch: BatchPooling(cells, None, inputs.rows(batch)),
        )
        batches = sum(len(vectors) == len(cells) for _, vectors in found)
    return memory.peak, batches


@pytest.mark.parametrize("mix", MIXES)
def test_a_batch_takes_so_many_bytes_a_token_whatever_its_lengths(mix, mistral, monkeypatch):
    cells = [SGPT(attention="bidirectional" if mix == "equal" else "causal")]
    peak, batches = measure(mistral, MIXES[mix], cells, monkeypatch=monkeypatch)
    assert peak <= BYTES_A_TOKEN * BUDGET, f"{peak / BUDGET:.0f} bytes a token"
    assert batches >= 1


def test_all_layers_and_poolings_take_no_more(mistral, monkeypatch):
    mix = "one long among 440"
    cells = [
        SGPT(layer=layer, pooling=pooling)
        for layer in [*range(32), -1]
        for pooling in ("last", "mean", "weighted_mean")
    ]
    peak, _ = measure(mistral, MIXES[mix], cells, monkeypatch=monkeypatch)
    vectors = len(cells) * len(MIXES[mix]) * 4096 * 4  # are what was asked for
    assert peak - vectors <= BYTES_A_TOKEN * BUDGET, f"{(peak - vectors) / BUDGET:.0f} a token"


def test_a_shared_prefix_and_a_pool_of_ones_own_take_no_more(mistral, monkeypatch):
    for cell in (SGPT(pooling="mean"), Middle()):
        lengths = MIXES["one long among 1,700"]
        peak, _ = measure(mistral, lengths, [cell], prefix=60, monkeypatch=monkeypatch)
        assert peak <= BYTES_A_TOKEN * BUDGET, f"{peak / BUDGET:.0f} bytes a token"


def test_padded_attention_takes_no_more(mistral, monkeypatch):
    padded = replace(mistral, packed_layout="padded")
    peak, _ = measure(padded, MIXES["one long among 1,700"], [SGPT()], monkeypatch=monkeypatch)
    assert peak <= BYTES_A_TOKEN * BUDGET, f"{peak / BUDGET:.0f} bytes a token"
