"""Random models of many architectures, small enough for every test."""

from methods.backbone.loader import BackboneSpec
from methods.backbone.sources import Random

SMALL = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = {"head_dim": 8}
GPT = {"vocab_size": 260, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
WINDOW = {"sliding_window": 5}  # shorter than the rows that tests read


def spec(architecture, config, **more):
    source = Random(architecture=architecture, config=config)
    more = {"dtype": "float32", **more}
    return BackboneSpec(name=f"tiny/{architecture}", source=source, **more)
