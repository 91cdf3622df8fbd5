"""Two encoders side by side: what is equal is found equal, and a constructed fault is named."""

import copy

import numpy as np
import pytest
import torch
from sentence_transformers.base.modules import Normalize, Transformer

from methods.interop.compare import compare, compare_stages
from methods.interop.trace_encoder import trace_encoder
from methods.interop.trace_sentence_transformer import trace_sentence_transformer
from tests.interop.conftest import TEXTS

FULL = [text for text in TEXTS if text]  # a plain tokenizer gives the empty text no token


def differing(found):
    return [stage.name for stage in found.stages if stage.differs]


def test_an_encoder_equals_itself_at_every_stage(encoder):
    for method, fields in (("echo", {}), ("llm2vec", {}), ("prompteol", {"normalize": True})):
        one = encoder(method, **fields)
        found = compare(one, encoder(method, **fields))
        assert found.agrees and not differing(found), found.verdict
        assert all(stage.agree == stage.texts for stage in found.stages)
        assert {s.texts for s in found.stages if s.texts not in (1, 29)} == {24}
        assert found.verdict.sentence.startswith("No difference") and not found.verdict.hint


@pytest.mark.parametrize(
    ("method", "pooling"), [("sgpt", "weightedmean"), ("cpt_text", "lasttoken")]
)
def test_a_model_made_by_hand_equals_ours_at_every_stage(
    method, pooling, encoder, make_model, make_appended
):
    model = make_model(pooling)
    texts = FULL
    if method == "cpt_text":  # BOS, text, EOS
        model = make_appended(model, "<s> $A </s>")
        texts = TEXTS
    found = compare(encoder(method), model, texts)
    assert found.agrees and not differing(found), found.verdict
    known = [stage.name for stage in found.stages if stage.agree is not None]
    assert len(known) == len(found.stages) == 12
    assert found.agreement.min_cosine == pytest.approx(1)


def test_a_text_that_one_cannot_encode_is_a_difference_and_no_crash(encoder, make_model):
    found = compare(encoder("sgpt"), make_model("weightedmean"), TEXTS)
    assert not found.agrees and found.agreement.zeros == 1
    assert "For an empty text B raises RuntimeError" in found.verdict.sentence


def test_a_missing_eos_is_named(encoder, make_model, make_appended):
    ours, theirs = encoder("repllama"), make_model("lasttoken", Normalize())
    prompts = {"prompt": "query: "}
    bare = trace_sentence_transformer(theirs, FULL, side="query", options=prompts)
    traced = trace_encoder(ours, FULL, side="query")
    found = compare_stages(traced, bare, texts=FULL)
    assert not found.agrees
    assert "A ends with '⟦</s>⟧', B does not (4 texts)" in found.verdict.sentence
    assert found.verdict.hint.startswith("an EOS that only one appends")
    appended = make_appended(make_model("lasttoken", Normalize()))
    whole = trace_sentence_transformer(appended, FULL, side="query", options=prompts)
    assert compare_stages(traced, whole, texts=FULL).agrees


def test_a_chat_template_is_named(tiny_folder, encoder, tmp_path):
    import shutil

    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "chat"
    shutil.copytree(tiny_folder, folder)
    template = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    found = compare(encoder("sgpt"), SentenceTransformer(str(folder), device="cpu"), FULL)
    assert not found.agrees
    start = "First difference: text as prepared and token ids (4 of 4 texts)"
    assert found.verdict.sentence.startswith(start)
    assert "B has 7 tokens more at the front, '⟦<s>⟧user: '" in found.verdict.sentence


def test_another_prompt_and_another_length_are_named(encoder, make_model):
    model = make_model("weightedmean", prompts={"query": "find: "})
    found = compare(encoder("sgpt"), model, FULL, side="query")
    assert "B has 6 tokens more at the front, 'find: '" in found.verdict.sentence
    assert "a prompt or instruction that only one uses" in found.verdict.hint
    assert compare(encoder("sgpt"), model, FULL).agrees
    model.max_seq_length = 20
    found = compare(encoder("sgpt"), model, FULL)
    assert "B is cut at 20 tokens, A has 13 tokens more (1 text)" in found.verdict.sentence
    assert compare(encoder("sgpt", max_length=20), model, FULL).agrees


def test_another_pooling_and_another_pool_mask_are_named(encoder, make_model):
    found = compare(encoder("sgpt", pooling="mean"), make_model("lasttoken"), FULL)
    assert found.verdict.sentence.startswith("First difference: pooled tokens (4 of 4 texts)")
    assert "A pools the mean of tokens 1 to 33 of 33, B token 33 of 33, 'e'" in (
        found.verdict.sentence
    )
    assert differing(found)[0] == "pooled tokens" and "hidden states" not in differing(found)
    model = make_model("mean", include_prompt=False)
    whole = make_model("mean")
    options = {"prompt": "find: "}
    traced = [trace_sentence_transformer(one, FULL, options=options) for one in (whole, model)]
    found = compare_stages(*traced, texts=FULL)
    assert "B the mean of tokens 7 to 39 of 39" in found.verdict.sentence
    assert "only one leaves out" in found.verdict.hint
    model = make_model("weightedmean", include_prompt=False)
    ranks = trace_sentence_transformer(model, FULL, options=options)
    assert {one.pooling for one in ranks.texts} == {"weighted_mean by the place in the row"}


def test_causal_against_bidirectional_attention_is_named(encoder, make_model):
    causal = make_model("mean")
    found = compare(encoder("llm2vec"), causal, FULL)
    stage = next(stage for stage in found.stages if stage.name == "attention")
    assert (stage.a, stage.b) == ("bidirectional", "causal") and not found.agrees
    assert found.verdict.sentence == "First difference: attention: A is bidirectional, B causal"
    assert "is_causal" in found.verdict.hint
    opened = make_model("mean")
    opened.transformers_model.config.is_causal = False
    assert compare(encoder("llm2vec"), opened, FULL).agrees


def test_attention_that_is_bidirectional_on_padded_batches_alone_is_found(encoder, make_model):
    class Half(Transformer):
        def forward(self, features, **more):
            self.model.config.is_causal = len(features["input_ids"]) == 1
            return super().forward(features, **more)

    found = compare(encoder("sgpt"), make_model("weightedmean", first=Half), FULL)
    stage = next(stage for stage in found.stages if stage.name == "attention")
    assert stage.b == "causal alone, bidirectional in a batch" and not found.agrees


def test_a_mask_that_leaves_out_the_eos_is_named(encoder, make_model, make_appended):
    class Masked(Transformer):
        def preprocess(self, *arguments, **more):
            features = super().preprocess(*arguments, **more)
            features["attention_mask"] = (features["input_ids"] != 2).long()  # the padding's
            return features

    model = make_appended(make_model("lasttoken", first=Masked))
    found = compare(encoder("repllama", normalize=False), model, ["passage: a b"], side=None)
    assert differing(found)[0] != "attention mask"  # the prompt comes first
    traced = trace_encoder(encoder("repllama", normalize=False), FULL, side="query")
    other = trace_sentence_transformer(model, FULL, options={"prompt": "query: "})
    found = compare_stages(traced, other, texts=FULL)
    assert found.verdict.sentence.startswith("First difference: attention mask (4 of 4 texts)")
    assert "B's attention does not see '⟦</s>⟧'" in found.verdict.sentence
    assert "is the padding token too" in found.verdict.hint


def test_vectors_that_depend_on_batch_mates_are_named(encoder, make_model):
    class Unmasked(Transformer):
        def forward(self, features, **more):
            features = super().forward(features, **more)
            features["attention_mask"] = torch.ones_like(features["attention_mask"])
            return features

    found = compare(encoder("sgpt", pooling="mean"), make_model("mean", first=Unmasked), FULL)
    assert differing(found) == ["vectors of one call"]
    assert "B returns another vector for text" in found.verdict.sentence
    assert found.verdict.hint.startswith("padding")


def test_unit_length_alone_is_named(encoder, make_model):
    found = compare(encoder("sgpt"), make_model("weightedmean", Normalize()), FULL)
    assert differing(found) == ["vector", "vectors of one call"]
    assert "only B returns vectors of unit length" in found.verdict.sentence
    assert "matters for dot products" in found.verdict.hint


def test_other_weights_and_another_layer_are_named(encoder, make_model):
    model = make_model("weightedmean")
    with torch.no_grad():
        model.transformers_model.layers[1].mlp.up_proj.weight.mul_(1.1)
    found = compare(encoder("sgpt"), model, FULL)
    assert "1 of 29 weights differ, first: layers.1.mlp.up_proj.weight" in found.verdict.sentence
    assert "an adapter that only one has merged" in found.verdict.hint
    found = compare(encoder("sgpt", layer=1), make_model("weightedmean"), FULL)
    assert "A pools the states of layer 1, B those after the final norm" in found.verdict.sentence


def test_another_dtype_alone_widens_the_tolerance(encoder, make_model):
    half = make_model("weightedmean").to(torch.bfloat16)
    found = compare(encoder("sgpt"), half, FULL)
    assert found.agrees and differing(found) == ["dtype"] and found.tolerance[0] == 0.99
    assert "A is float32, B bfloat16" in found.verdict.sentence
    assert found.agreement.min_cosine < 0.99999


def test_vectors_are_the_last_stage_alone(encoder):
    ours = encoder("sgpt")
    vectors = ours.encode(TEXTS)
    found = compare(ours, vectors, TEXTS)
    assert found.agrees and [s.name for s in found.stages if s.agree is not None] == [
        "vectors of one call"
    ]
    vectors[2] = -vectors[2]
    found = compare(vectors, ours, TEXTS)
    assert found.verdict.sentence.startswith("First difference: vectors of one call (1 of 5 texts)")
    assert found.verdict.hint.startswith("not known, since A does not show")
    assert compare(vectors, vectors.copy()).agrees
    with pytest.raises(ValueError, match="3 vectors for 5 texts"):
        compare(ours, vectors[:3], TEXTS)
    with pytest.raises(ValueError, match="vector 2 is not finite"):
        compare(ours, np.where(np.arange(5)[:, None] == 2, np.nan, vectors), TEXTS)
    with pytest.raises(ValueError, match="B is str; valid: an encoder"):
        compare(ours, "sgpt")


def test_tracing_leaves_a_model_as_it_was(make_model):
    model = make_model("mean")
    before = copy.copy(vars(model.transformers_model))
    expected = model.encode(FULL)
    trace_sentence_transformer(model, FULL)
    assert vars(model.transformers_model).keys() == before.keys()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.children())
    assert np.array_equal(model.encode(FULL), expected)


def test_static_embeddings_and_modules_of_ones_own_are_traced(encoder, make_model):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    class Whole(torch.nn.Module):
        """Tokenises, runs and pools by itself."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.tokenizer, self.max_seq_length = inner, inner.tokenizer, 64

        def preprocess(self, inputs, prompt=None, **more):
            return self.inner.preprocess(inputs)

        def forward(self, features):
            states = self.inner.model(**{k: features[k] for k in ("input_ids", "attention_mask")})
            rows = features["attention_mask"].sum(1) - 1
            hidden = states.last_hidden_state
            return {**features, "sentence_embedding": hidden[range(len(rows)), rows]}

    inner = make_model("lasttoken")[0]
    own = SentenceTransformer(modules=[Whole(inner)], device="cpu")
    found = compare(encoder("sgpt", pooling="last"), own, FULL)
    assert found.agrees and len([s for s in found.stages if s.agree is not None]) == 12
    static = SentenceTransformer(modules=[StaticEmbedding(inner.tokenizer, embedding_dim=32)])
    found = compare(encoder("sgpt"), static, FULL)
    assert {s.unknown for s in found.stages if s.name in ("token ids", "attention")} == {"B"}
    assert not found.agrees


def test_a_module_that_hands_its_pool_mask_to_the_pooling_equals_the_method(encoder, tiny_folder):
    """The form in which a method that no stock module can say is exported."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    ours = encoder("echo")

    class Method(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.max_seq_length = Transformer(str(tiny_folder)).model, 300
            self.tokenizer = ours.backbone.tokenizer

        def preprocess(self, inputs, prompt=None, task=None, **more):
            made = ours.method.prepare_inputs(inputs, tokenizer=self.tokenizer, prompt_type=task)
            length = max(map(len, made.ids))
            ids = [row + [0] * (length - len(row)) for row in made.ids]
            seen = [[1] * len(row) + [0] * (length - len(row)) for row in made.ids]
            return {
                "input_ids": torch.tensor(ids),
                "attention_mask": torch.tensor(seen),
                "pool_mask": made.mask(length).long(),
            }

        def forward(self, features):
            given = {key: features[key] for key in ("input_ids", "attention_mask")}
            states = self.model(**given, use_cache=False).last_hidden_state
            mask = features["pool_mask"]
            return {**features, "token_embeddings": states, "attention_mask": mask}

    model = SentenceTransformer(modules=[Method(), Pooling(32, "mean")], device="cpu")
    for side in (None, "query", "document"):
        found = compare(ours, model, TEXTS, side=side)
        assert found.agrees and not differing(found), found.verdict
        assert not any(stage.unknown for stage in found.stages)
    start = found.b.texts[0].weights_L.nonzero()[0][0]
    assert start > 40 and found.b.texts[0].pooling == "mean"  # the second copy alone
