"""What every method must do, over every conf/method/*.yaml, on a random model."""

import mteb
import numpy as np
import pytest
from mteb import TaskResult
from mteb.results.task_result import TaskError
from omegaconf import OmegaConf

from methods.base import Method
from methods.config.resolve import CONF, list_choices
from tests.methods.readings import expected

TEXTS = [
    "A man is playing a guitar.",
    "Is it raining?",
    'He said "no" and left',
    "短い文",
    "word " * 40,
    "Two\nlines, a tab\tand  two spaces ",
    "🙂 naïve café",
]
ODD = ["", " ", "\n", '"', "?", "%%text%%", "{}", "[]", "\u200b", "</s>", "é" * 300]
SIDES = [None, "query", "document"]
METHODS = list_choices("method")


@pytest.fixture
def encoder(encoder):
    """load_encoder on the tiny model, with the fields that a method needs on one so small."""

    def load(name, **overrides):
        return encoder(name, **{**expected(name).fields, **overrides})

    return load


@pytest.mark.parametrize("name", METHODS)
def test_an_embedding_does_not_depend_on_batch_mates_order_or_batch_size(name, encoder):
    one_by_one = encoder(name)
    alone = np.concatenate([one_by_one.encode([t], instruction="Find it") for t in TEXTS])
    together = encoder(name, batch_tokens=100_000).encode(TEXTS, instruction="Find it")
    backwards = encoder(name, batch_tokens=64).encode(TEXTS[::-1], instruction="Find it")[::-1]
    assert np.abs(alone - together).max() < 2e-6 * max(1, np.abs(alone).max())
    assert np.abs(alone - backwards).max() < 2e-6 * max(1, np.abs(alone).max())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("side", SIDES)
def test_empty_and_odd_texts_are_embedded_and_every_row_has_a_pooled_token(name, side, encoder):
    loaded = encoder(name)
    inputs = loaded.method.prepare_inputs(
        ODD, tokenizer=loaded.backbone.tokenizer, prompt_type=side, instruction="Find it"
    )
    assert all(any(mask) for mask in inputs.pool_mask)
    vectors = loaded.encode(ODD, prompt_type=side, instruction="Find it")
    assert vectors.shape == (len(ODD), expected(name).size)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("side", SIDES)
def test_over_long_text_is_cut_and_what_surrounds_it_stays(name, side, encoder):
    fields = dict(expected(name).longest)
    limit = fields.pop("tokens")
    loaded = encoder(name, **fields)
    ask = {"tokenizer": loaded.backbone.tokenizer, "prompt_type": side, "instruction": "Find it"}
    short = loaded.method.prepare_inputs(["aa aa.", "zz zz'"], **ask)
    long = loaded.method.prepare_inputs(["aa aa " * 300], **ask)
    each = loaded.method.rows_per_text
    assert len(long) == each and long.cut and not short.cut
    assert each > 1 or long.cut == {0}
    for row in range(each):
        ids, one, other = long.ids[row], short.ids[row], short.ids[each + row]
        assert len(ids) <= limit
        shared_head = _common(one, other)
        shared_tail = _common(one[::-1], other[::-1])
        assert ids[:shared_head] == one[:shared_head]
        assert ids[len(ids) - shared_tail :] == one[::-1][:shared_tail][::-1]


def _common(first, second):
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("side", ["query", "document"])
def test_a_template_that_does_not_fit_is_an_error_that_says_so(name, side, encoder):
    loaded = encoder(name, max_length=1)
    ask = {"prompt_type": side, "instruction": "Find it"}
    if side in expected(name).refused:
        with pytest.raises(ValueError, match="does not fit max_length=1"):
            loaded.encode(["some text"], **ask)
    else:
        assert np.isfinite(loaded.encode(["some text"], **ask)).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("instruction", [None, "Find it"])
def test_query_and_document_differ_exactly_where_the_paper_says_so(name, instruction, encoder):
    loaded = encoder(name)
    ids = {
        side: loaded.method.prepare_inputs(
            ["a text"],
            tokenizer=loaded.backbone.tokenizer,
            prompt_type=side,
            instruction=instruction,
        ).ids
        for side in SIDES
    }
    assert ids["query"] == ids[None]
    differ = ids["document"] != ids["query"]
    assert differ == (expected(name).sides["with" if instruction else "without"] == "differ")


@pytest.mark.parametrize("name", METHODS)
def test_what_is_read_does_not_depend_on_pooling_layer_or_normalisation(name, encoder):
    def read(**overrides):
        loaded = encoder(name, **overrides)
        return loaded.method.prepare_inputs(
            TEXTS, tokenizer=loaded.backbone.tokenizer, instruction="Find it"
        )

    method = encoder(name).method
    layer = 1 if method.layers == (method.layer,) else -1  # of others a layer has no effect
    first = read(pooling="last", layer=-1, normalize=False)
    assert first == read(pooling="mean", layer=layer, normalize=True)


@pytest.mark.parametrize("name", METHODS)
def test_the_yaml_says_what_the_class_does_by_default(name):
    from hydra.utils import get_class

    values = OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{name}.yaml"))
    defaults = get_class(values.pop("_target_"))()
    values.pop("defaults", None)
    assert {"attention", "pooling", "layer", "max_length", "normalize"} <= set(values)
    for key, value in values.items():
        value = tuple(value) if isinstance(value, list) else value
        assert getattr(defaults, key) == value, key


@pytest.mark.parametrize("name", METHODS)
def test_mteb_can_use_the_encoder_on_all_its_text_task_types(name, encoder):
    results = mteb.mock_run(encoder(name)).task_results
    failed = {task: r.exception for task, r in results.items() if isinstance(r, TaskError)}
    assert not failed
    assert sum(isinstance(result, TaskResult) for result in results.values()) == 28


def test_a_method_that_forgets_a_verb_cannot_be_constructed():
    class Half(Method):
        def pool(self, hidden_BLD, inputs):
            return hidden_BLD[:, 0]

    with pytest.raises(TypeError, match="prepare_inputs"):
        Half()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pooling", "eos", "valid: last, mean, weighted_mean.*method that appends one"),
        ("attention", "both", "valid: causal, bidirectional"),
        ("template", "nice", "valid: rewrite, instruct"),
        ("poolin", "mean", "is no field of method echo"),
    ],
)
def test_a_wrong_field_is_an_error_that_lists_what_is_valid(field, value, message, encoder):
    with pytest.raises(ValueError, match=message):
        encoder("echo", **{field: value})
