"""One load a process; what is asked for and cannot be had is an error."""

import weakref

import pytest

from methods.backbone import loader
from methods.backbone.hardware import resolve_dtype, resolve_kernels
from methods.backbone.loader import BackboneSpec, load_backbone, load_config
from methods.backbone.sources import Random

CONFIG = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def spec(**more):
    return BackboneSpec(name="tiny/llama", source=Random(config=CONFIG), **more)


def test_a_model_is_loaded_once_however_many_jobs_ask():
    assert load_backbone(spec()) is load_backbone(spec())
    assert load_backbone(spec()) is not load_backbone(spec(dtype="float32", batch_tokens=64))


@pytest.mark.parametrize("build", [load_backbone, loader.build_backbone])
def test_one_model_is_loaded_at_a_time(build, monkeypatch):
    before = weakref.ref(load_backbone(spec(dtype="float32", batch_tokens=65)).model)
    plain, alive = loader.load_weights, []

    def watch(*arguments):
        alive.append(before() is not None)
        return plain(*arguments)

    monkeypatch.setattr(loader, "load_weights", watch)
    build(spec(dtype="float32", batch_tokens=66))
    assert alive == [False]


def test_random_weights_are_those_of_their_seed_and_leave_the_generator_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_backbone(spec(dtype="float32")).model.state_dict()
    assert torch.equal(torch.rand(1), expected)
    loader._load.cache_clear()
    second = load_backbone(spec(dtype="float32")).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_that_is_not_there_is_an_error(device):
    with pytest.raises(ValueError, match=r"device cuda\S* was asked for.* use model.device=cpu"):
        spec(device=device)


def test_a_kernel_that_cannot_be_had_is_an_error():
    with pytest.raises(ValueError, match=r"flash_attention_2 needs .*pip install -e '\.\[flash\]'"):
        resolve_kernels("flash_attention_2", "cpu", "bfloat16")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("dtype", "int8", "dtype 'int8' is unknown; valid: auto, float32, bfloat16, float16"),
        ("kernel", "fast", "kernel 'fast' is unknown; valid: auto, eager, sdpa"),
        ("linears", "mkl", "linears 'mkl' is unknown; valid: auto, torch, onednn"),
        ("packed", "no", "packed 'no' is unknown; valid: True, False, auto"),
        ("device", "tpu", "device 'tpu' is unknown; valid: auto, cpu, cuda"),
    ],
)
def test_a_wrong_choice_lists_the_valid_ones(field, value, told):
    with pytest.raises(ValueError, match=told):
        spec(**{field: value})


def test_a_setting_of_another_type_than_its_configs_is_named():
    with pytest.raises(ValueError, match="the config of random is not valid: .*hidden_size"):
        load_config(
            BackboneSpec(name="tiny/llama", source=Random(config=CONFIG | {"hidden_size": "x"}))
        )


def test_what_auto_chose_is_told():
    backbone = load_backbone(spec())
    assert backbone.identity["dtype"] == resolve_dtype("auto", "auto")
    assert backbone.choices["kernel"] in ("sdpa", "eager", "flash_attention_2")
