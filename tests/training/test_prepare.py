"""What a model is set to before it is trained."""

import pytest
import torch
from transformers import AutoConfig, AutoModel

from methods.training.prepare import set_attention_dropout
from tests.backbone.architectures import GPT, SMALL

MODELS = {
    "llama": SMALL,
    "bloom": {"vocab_size": 260, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt2": GPT | {"resid_pdrop": 0.0, "embd_pdrop": 0.0},
    "gptj": GPT | {"rotary_dim": 4},
    "gpt_neo": {
        "vocab_size": 260,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global"], 2]],
    },
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
}


@pytest.mark.parametrize("architecture", MODELS)
def test_attention_dropout_is_the_recipes_whatever_an_architecture_calls_it(architecture):
    """BLOOM has it as a module, the GPTs under other names, GPT-2 with a value of its own."""
    config = AutoConfig.for_model(architecture, **MODELS[architecture])
    model = AutoModel.from_config(config, attn_implementation="eager").train()
    ids = torch.arange(5, 17)[None]
    for share in (0.0, 0.9):
        set_attention_dropout(model, share)
        once, again = (model(ids).last_hidden_state for _ in range(2))
        assert torch.equal(once, again) == (share == 0)
