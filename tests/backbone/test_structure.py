"""Which layers a text passes, and how many positions it may have."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from methods.backbone.forward import forward
from methods.backbone.loader import load_backbone
from methods.backbone.structure import find_decoder_layers, measure_positions
from methods.base import Inputs
from tests.backbone.architectures import GPT, HEADS, SMALL, spec

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}
QWEN_VISION = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 4,
    "out_hidden_size": 32,
    "patch_size": 8,
}
MROPE = {"rope_type": "default", "mrope_section": [2, 1, 1]}
TWO_TOWERS = {
    "internvl": {
        "text_config": {"model_type": "qwen2", **SMALL},
        "vision_config": VISION | {"image_size": [16, 16], "patch_size": [8, 8]},
    },
    "qwen3_vl": {
        "text_config": SMALL | HEADS | {"rope_scaling": MROPE},
        "vision_config": QWEN_VISION
        | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    },
    "qwen2_5_vl": {"text_config": SMALL | {"rope_scaling": MROPE}, "vision_config": QWEN_VISION},
    "gemma3": {"text_config": SMALL | HEADS, "vision_config": VISION},
    "llava": {
        "text_config": {"model_type": "llama", **SMALL},
        "vision_config": {"model_type": "clip_vision_model", **VISION},
    },
    "idefics3": {"text_config": {"model_type": "llama", **SMALL}, "vision_config": VISION},
}


@pytest.mark.parametrize("architecture", TWO_TOWERS)
def test_layers_are_the_texts_where_two_towers_are_equally_deep(architecture):
    backbone = load_backbone(spec(architecture, TWO_TOWERS[architecture], kernel="eager"))
    ids = list(range(5, 15))
    with torch.inference_mode():
        expected = backbone.model(
            torch.tensor([ids]), use_cache=False, output_hidden_states=True
        ).hidden_states
    inputs = Inputs(ids=[ids], pool_mask=[[True] * 10])
    layers = [0, 1, 2, -1]
    ((_, found),) = forward(backbone, inputs, attention="causal", layers=layers)
    for layer in layers:
        assert torch.allclose(found[layer], expected[layer], atol=1e-5), layer


def test_layers_are_the_decoders_and_no_list_beside_them():
    config = AutoConfig.for_model(
        "bart",
        **{"vocab_size": 260, "d_model": 32, "encoder_layers": 3, "decoder_layers": 3},
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 4},
    )
    model = AutoModel.from_config(config)
    assert find_decoder_layers(model) is model.decoder.layers
    model = load_backbone(spec("llama", SMALL)).model
    layers = model.layers
    beside = nn.ModuleList(nn.Linear(2, 2) for _ in layers)
    try:
        model._modules = {"beside": beside, **model._modules}
        assert find_decoder_layers(model) is layers
    finally:
        del model._modules["beside"]
    with pytest.raises(ValueError, match="has no list of 3 layers; only layer=-1 works"):
        find_decoder_layers(_without_layers(model))


def _without_layers(model):
    bare = nn.Module()
    bare.config = model.config
    return bare


PADDED = SMALL | {"max_position_embeddings": 66, "pad_token_id": 1}
POSITIONS = {
    "roberta": (PADDED, 64),
    "xlm-roberta": (PADDED, 64),
    "camembert": (PADDED, 64),
    "mpnet": (PADDED, 64),
    "longformer": (PADDED | {"attention_window": 8}, 64),
    "bert": (SMALL, 64),
    "opt": (SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}, 64),  # its table begins at 2
    "gpt2": (GPT, 64),
    "mpt": ({"vocab_size": 260, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 64}, 64),
    "bloom": ({k: v for k, v in SMALL.items() if k != "max_position_embeddings"}, None),  # ALiBi
}


@pytest.mark.parametrize("architecture", POSITIONS)
def test_the_longest_row_is_the_longest_that_the_model_takes(architecture):
    config, expected = POSITIONS[architecture]
    model = AutoModel.from_config(AutoConfig.for_model(architecture, **config)).eval()
    assert measure_positions(model) == expected
    if expected is not None:
        with torch.inference_mode():
            row = 3 + torch.arange(expected + 1)[None]
            model(row[:, :-1], use_cache=False)
            with pytest.raises((IndexError, RuntimeError)):
                model(row, use_cache=False)


def test_a_row_too_long_for_roberta_is_refused_by_its_length():
    backbone = load_backbone(spec("roberta", PADDED))
    inputs = Inputs(ids=[[5] * 65], pool_mask=[[True] * 65])
    with pytest.raises(ValueError, match="a row of 65 tokens is longer than the 64 positions of"):
        list(forward(backbone, inputs, attention="bidirectional", layers=[-1]))
