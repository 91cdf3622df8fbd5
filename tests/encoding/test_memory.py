"""How many bytes a batch takes on a card: counted on tensors without contents, at 7B sizes.

Every operation runs on torch's meta device, where a tensor has a size and no contents; what is
counted is what an allocator would be asked for (tests/benchmarks/memory.py).
"""

import random
from dataclasses import dataclass, replace

import pytest

from methods.sgpt import SGPT
from tests.benchmarks.memory import BUDGET, build_meta_backbone, measure_pass
from tests.benchmarks.sizes import MISTRAL_7B

# Bytes for each token of the budget, beside the weights. In a layer's MLP a token holds its state,
# the normalised one, gate, its activation and up: 2 x (2 x 4,096 + 3 x 14,336) = 102 kB. Pooling's
# parts are bounded by themselves, and vectors that are asked for come on top.
BYTES_A_TOKEN = 125_000


@pytest.fixture(scope="module")
def mistral():
    return build_meta_backbone(MISTRAL_7B)


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


@pytest.mark.parametrize("mix", MIXES)
def test_a_batch_takes_so_many_bytes_a_token_whatever_its_lengths(mix, mistral):
    cells = [SGPT(attention="bidirectional" if mix == "equal" else "causal")]
    peak, batches = measure_pass(mistral, MIXES[mix], cells)
    assert peak <= BYTES_A_TOKEN * BUDGET, f"{peak / BUDGET:.0f} bytes a token"
    assert batches >= 1


def test_all_layers_and_poolings_take_no_more(mistral):
    mix = "one long among 440"
    cells = [
        SGPT(layer=layer, pooling=pooling)
        for layer in [*range(32), -1]
        for pooling in ("last", "mean", "weighted_mean")
    ]
    peak, _ = measure_pass(mistral, MIXES[mix], cells)
    vectors = len(cells) * len(MIXES[mix]) * 4096 * 4  # are what was asked for
    assert peak - vectors <= BYTES_A_TOKEN * BUDGET, f"{(peak - vectors) / BUDGET:.0f} a token"


def test_a_shared_prefix_and_a_pool_of_ones_own_take_no_more(mistral):
    for cell in (SGPT(pooling="mean"), Middle()):
        lengths = MIXES["one long among 1,700"]
        peak, _ = measure_pass(mistral, lengths, [cell], prefix=60)
        assert peak <= BYTES_A_TOKEN * BUDGET, f"{peak / BUDGET:.0f} bytes a token"


def test_padded_attention_takes_no_more(mistral):
    padded = replace(mistral, packed_layout="padded")
    peak, _ = measure_pass(padded, MIXES["one long among 1,700"], [SGPT()])
    assert peak <= BYTES_A_TOKEN * BUDGET, f"{peak / BUDGET:.0f} bytes a token"
