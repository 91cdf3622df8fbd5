"""Weights that do not fill their model are an error that says what lacks."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from methods.backbone.head import load_head
from methods.backbone.loader import BackboneSpec, build_backbone
from methods.backbone.sources import Folder, Gguf
from methods.backbone.tiny import make_byte_tokenizer
from tests.backbone.architectures import GPT, HEADS, SMALL

FILE = "model.safetensors"
OPT = SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}
MADE = {
    "llama": SMALL,
    "gemma3_text": SMALL | HEADS,
    "gpt_neox": SMALL,
    "gpt2": GPT,
    "bloom": SMALL,
    "falcon": SMALL,
    "opt": OPT,
    "mixtral": SMALL,
    "bert": SMALL,
    "roberta": SMALL,
}


def saved(folder, architecture="llama", kind=AutoModelForCausalLM, **config):
    """A folder with a random model and the byte tokenizer."""
    config = AutoConfig.for_model(architecture, **(MADE.get(architecture, SMALL) | config))
    torch.manual_seed(0)
    model = kind.from_config(config)
    model.save_pretrained(folder)
    make_byte_tokenizer().save_pretrained(folder)
    return model


def spec(folder, **more):
    more = {"dtype": "float32", **more}
    return BackboneSpec(name="tiny/saved", source=Folder(path=str(folder)), **more)


def change(folder, weights=None, config=None):
    """Change a folder's tensors (by a function of all of them) and its config (by a dict)."""
    if weights is not None:
        state = {name: t.clone() for name, t in weights(load_file(folder / FILE)).items()}
        save_file(state, folder / FILE, metadata={"format": "pt"})
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | (config or {})))


def prefixed(prefix):
    return lambda state: {prefix + name: t for name, t in state.items()}


def without(part):
    return lambda state: {name: t for name, t in state.items() if part not in name}


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [(a, k) for a in MADE for k in (AutoModel, AutoModelForCausalLM)]
    + [("bert", AutoModelForMaskedLM), ("roberta", AutoModelForMaskedLM)]
    + [("llama", AutoModelForSequenceClassification), ("gpt2", AutoModelForSequenceClassification)],
)
def test_what_save_pretrained_wrote_is_read_whole(tmp_path, architecture, kind):
    model = saved(tmp_path, architecture, kind)
    inner = getattr(model, model.base_model_prefix, model).eval()
    loaded = build_backbone(spec(tmp_path, kernel="eager")).model
    inner.set_attn_implementation("eager")
    ids = torch.arange(5, 15)[None]
    with torch.inference_mode():
        expected, found = (m(ids, use_cache=False).last_hidden_state for m in (inner, loaded))
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "base_model.model.", "model.", "x."])
def test_weights_under_other_names_are_refused(tmp_path, prefix):
    saved(tmp_path)
    change(tmp_path, prefixed(prefix))
    told = (
        r"tiny/saved do not fill LlamaModel: .*lacks 29 of 29 tensors, first: embed_tokens\.weight"
    )
    with pytest.raises(ValueError, match=told) as error:
        build_backbone(spec(tmp_path))
    assert prefix in str(error.value)
    if prefix in ("_orig_mod.", "module."):
        assert f"save the model inside it (`model.{prefix}save_pretrained" in str(error.value)


@pytest.mark.parametrize(
    ("weights", "config", "told"),
    [
        (None, {"num_hidden_layers": 4}, r"lacks 9 of 38 tensors, first: layers\.3\."),
        (
            None,
            {"num_hidden_layers": 2},
            r"has no place for 9 of 29 tensors, first: model\.layers\.2",
        ),
        (without("layers.1.mlp"), {}, r"lacks 3 of 29 tensors, first: layers\.1\.mlp\.down_proj"),
        (without("embed_tokens"), {}, r"lacks 1 of 29 tensors, first: embed_tokens\.weight"),
        (without("model.norm"), {}, r"lacks 1 of 29 tensors, first: norm\.weight"),
        (None, {"hidden_size": 48, "head_dim": 8}, r"of another shape, first: \S+ is \[260, 32\]"),
        (None, {"num_key_value_heads": 4}, r"6 of 29 tensors of another shape"),
        (None, {"attention_bias": True}, r"lacks 12 of 41 tensors"),
        (
            lambda state: state | {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)},
            {},
            r"has no place for 1 of 30 tensors, first: model\.layers\.0\.self_attn\.q_proj\.bias",
        ),
        (
            lambda state: {n: t[:0] if "q_proj" in n else t for n, t in state.items()},
            {},
            r"another shape, first: \S*q_proj.weight is \[0, 32\].*did not gather",
        ),
        (
            lambda state: {n: t / 0 if "q_proj" in n else t for n, t in state.items()},
            {},
            r"3 of 29 tensors, first: layers\.0\.self_attn\.q_proj\.weight.*not finite in torch.fl",
        ),
        (None, {"model_type": "gpt2", "architectures": ["GPT2Model"]}, "do not fill GPT2Model"),
        (without(""), {}, "lacks 29 of 29 tensors"),
    ],
)
def test_weights_that_do_not_fill_the_model_are_refused(tmp_path, weights, config, told):
    saved(tmp_path)
    change(tmp_path, weights, config)
    with pytest.raises(ValueError, match=told):
        build_backbone(spec(tmp_path))


def test_weights_too_large_for_a_dtype_are_refused(tmp_path):
    saved(tmp_path)
    change(tmp_path, lambda state: {n: t * 1e8 if "q_proj" in n else t for n, t in state.items()})
    build_backbone(spec(tmp_path))
    with pytest.raises(ValueError, match=r"not finite in torch.float16; .* another model.dtype"):
        build_backbone(spec(tmp_path, dtype="float16"))


def test_a_missing_tensor_is_harmless_only_if_no_text_reads_it(tmp_path, caplog):
    caplog.set_level("INFO")
    saved(tmp_path, "bert", AutoModelForMaskedLM)
    backbone = build_backbone(spec(tmp_path))
    assert "lacks 2 of 55 tensors, first: pooler.dense.bias, pooler.dense.weight" in caplog.text
    assert backbone.model.pooler.dense.weight.isfinite().all()
    assert backbone.model.config._attn_implementation == "sdpa"
    change(tmp_path, without("bert.embeddings.LayerNorm"))
    with pytest.raises(ValueError, match=r"lacks 2 of 55 tensors, first: embeddings\.LayerNorm"):
        build_backbone(spec(tmp_path))


def test_masks_that_old_checkpoints_saved_are_not_of_the_body(tmp_path):
    saved(tmp_path, "gpt2")
    mask = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
    names = [f"transformer.h.{n}.attn.{b}" for n in range(3) for b in ("bias", "masked_bias")]
    change(tmp_path, lambda state: state | {name: mask for name in names})
    build_backbone(spec(tmp_path))


def test_layers_that_predict_further_tokens_are_not_of_the_body(tmp_path):
    saved(tmp_path)
    more = {"model.layers.3.eh_proj.weight": torch.ones(2)}
    change(tmp_path, lambda state: state | more)
    with pytest.raises(ValueError, match="has no place for 1 of 30"):
        build_backbone(spec(tmp_path))
    change(tmp_path, config={"num_nextn_predict_layers": 1})
    build_backbone(spec(tmp_path))


def sharded(folder):
    model = saved(folder)
    (folder / FILE).unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    return sorted(folder.glob("*.safetensors"))


def test_shards_are_read_whole_or_not_at_all(tmp_path):
    shards = sharded(tmp_path)
    assert len(shards) > 3
    build_backbone(spec(tmp_path))
    index = tmp_path / "model.safetensors.index.json"
    text = index.read_text()
    index.unlink()
    with pytest.raises(ValueError, match=rf"{tmp_path} lacks model.safetensors.index.json"):
        build_backbone(spec(tmp_path))
    index.write_text(text)
    body = shards[2].read_bytes()
    shards[2].write_bytes(body[:-7])
    with pytest.raises(ValueError, match=rf"{shards[2].name} cannot be read, it may be cut short"):
        build_backbone(spec(tmp_path))
    shards[2].unlink()
    with pytest.raises(ValueError, match=rf"lacks 1 of \d+ shards .*first: {shards[2].name}"):
        build_backbone(spec(tmp_path))
    shards[2].write_bytes(body)
    for broken in ("[]", "{}"):
        index.write_text(broken)
        with pytest.raises(ValueError, match=r"index.json names no shards"):
            build_backbone(spec(tmp_path))
    cut = json.loads(text)
    cut["weight_map"] = {n: f for n, f in cut["weight_map"].items() if f != shards[2].name}
    index.write_text(json.dumps(cut))
    with pytest.raises(ValueError, match=r"lacks \d+ of 29 tensors"):
        build_backbone(spec(tmp_path))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        (FILE, POINTER, "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
        (FILE, b"", "is empty; fetch it again"),
        (FILE, b"<html>an error page of some server</html>", "it is no safetensors file, or"),
        (FILE, None, r"may be cut short: it has \d+ bytes, its header says \d+"),
        ("tokenizer.json", POINTER, "is a Git LFS pointer"),
        ("config.json", POINTER, "is a Git LFS pointer"),
        ("config.json", b"", "is empty"),
    ],
)
def test_files_that_are_not_what_they_are_named_say_so(tmp_path, file, content, told):
    saved(tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} .*{told}"):
        build_backbone(spec(tmp_path))


def test_an_adapter_is_not_taken_for_a_model(tmp_path):
    saved(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds an adapter beside a model .* as adapter=DIR"):
        build_backbone(spec(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"holds an adapter, not a model .* as adapter=DIR"):
        build_backbone(spec(tmp_path))


def test_a_tokenizer_larger_than_the_embeddings_is_refused(tmp_path):
    saved(tmp_path, vocab_size=250)
    with pytest.raises(ValueError, match="vocabulary has 259 tokens, .* have 250 rows"):
        build_backbone(spec(tmp_path))


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_is_the_checkpoints_own(tmp_path, tied):
    model = saved(tmp_path, tie_word_embeddings=tied)
    wanted = spec(tmp_path)
    backbone = build_backbone(wanted)
    head = load_head(wanted, backbone)
    assert torch.equal(head, model.get_output_embeddings().weight)
    assert torch.equal(head, backbone.model.get_input_embeddings().weight) == tied


def test_a_head_of_its_own_counts_although_the_config_says_tied(tmp_path):
    model = saved(tmp_path, tie_word_embeddings=False)
    change(tmp_path, config={"tie_word_embeddings": True})
    wanted = spec(tmp_path)
    assert torch.equal(load_head(wanted, build_backbone(wanted)), model.lm_head.weight)
    change(tmp_path, lambda state: state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    backbone = build_backbone(wanted)
    embeddings = backbone.model.get_input_embeddings().weight
    assert load_head(wanted, backbone).data_ptr() == embeddings.data_ptr()


def test_a_head_that_is_not_there_is_an_error(tmp_path):
    saved(tmp_path, kind=AutoModel, tie_word_embeddings=False)
    wanted = spec(tmp_path)
    backbone = build_backbone(wanted)
    with pytest.raises(ValueError, match=r"with its language-model head .*lacks 1 of 30 .*lm_head"):
        load_head(wanted, backbone)


def test_a_head_that_is_not_finite_is_an_error(tmp_path):
    saved(tmp_path, tie_word_embeddings=False)
    change(tmp_path, lambda state: state | {"lm_head.weight": state["lm_head.weight"] / 0})
    wanted = spec(tmp_path)
    with pytest.raises(ValueError, match="the language-model head of tiny/saved: 1 of 1 .*finite"):
        load_head(wanted, build_backbone(wanted))


def gguf(file, *, layers=3, kv=None, drop=(), more=(), head=True):
    """A Llama in GGUF, as llama.cpp's converter names things."""
    from gguf import GGUFWriter

    size, inner = 32, 48
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(264)
    writer.add_tokenizer_model("gpt2")
    vocabulary = make_byte_tokenizer().get_vocab()
    tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), "ab"]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd.weight": (264, size), "output_norm.weight": (size,)}
    shapes |= {"output.weight": (264, size)} if head else {}
    for block in range(3):
        shapes |= {f"blk.{block}.attn_{n}.weight": (size, size) for n in ("q", "k", "v", "output")}
        shapes |= {f"blk.{block}.ffn_{n}.weight": (inner, size) for n in ("gate", "up")}
        shapes |= {f"blk.{block}.ffn_down.weight": (size, inner)}
        shapes |= {f"blk.{block}.{n}_norm.weight": (size,) for n in ("attn", "ffn")}
    shapes = {n: s for n, s in shapes.items() if n not in drop} | dict.fromkeys(more, (size,))
    torch.manual_seed(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, (torch.randn(shape) * 0.1).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return BackboneSpec(name="tiny/gguf", source=Gguf(path=str(file)), dtype="float32")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEC2VEC_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("head", [True, False])
def test_a_gguf_file_is_converted_with_its_head(tmp_path, cache, head):
    wanted = gguf(tmp_path / "x.gguf", head=head)
    backbone = build_backbone(wanted)
    found = load_head(wanted, backbone)
    assert torch.equal(found, backbone.model.get_input_embeddings().weight) != head


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"drop": ("blk.1.ffn_up.weight",)},
            r"lacks 1 of \d+ tensors, first: \S*layers\.1\.mlp\.up",
        ),
        ({"drop": ("token_embd.weight",)}, r"lacks 1 of \d+ tensors, first: \S*embed_tokens"),
        ({"layers": 4}, r"lacks 9 of \d+ tensors, first: \S*layers\.3\."),
        (
            {"layers": 2},
            r"has 9 of 30 tensors that LlamaForCausalLM has no place for, first: blk\.2",
        ),
        ({"more": ("blk.0.attn_q.bias",)}, r"has 1 of 31 tensors .* first: blk\.0\.attn_q\.bias"),
    ],
)
def test_a_gguf_file_that_does_not_fill_its_model_is_refused(tmp_path, cache, more, told):
    wanted = gguf(tmp_path / "x.gguf", **more)
    with pytest.raises(ValueError, match=told):
        build_backbone(wanted)
    assert not list((tmp_path / "cache").rglob("config.json"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (POINTER, "is a Git LFS pointer"),
        (b"something else", "is no GGUF file"),
        (None, "may be cut short"),
    ],
)
def test_a_gguf_file_that_is_none_says_so(tmp_path, cache, content, told):
    file = tmp_path / "x.gguf"
    wanted = gguf(file)
    file.write_bytes(file.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(ValueError, match=f"{file} .*{told}"):
        build_backbone(wanted)
