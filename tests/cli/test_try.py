"""`dec2vec try`: what it reads from the command line, and the tables it prints."""

import subprocess
import sys

import numpy as np
import pytest

from methods import load_encoder
from methods.cli import VERBS
from methods.cli.try_ import Request, Row, compare, format_output, parse
from methods.config.resolve import list_choices
from tests.cli.test_evaluate import dec2vec, write_readme_files

TEXTS = ["a cat", "a kitten", "the market"]
TINY = {"model": "tiny", "dtype": "float32", "cache": None}


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def test_words_are_texts_unless_they_set_a_key_and_all_is_text_behind_dashes():
    request = parse(
        ["a cat", "x > y = z", "pooling=mean", "model.dtype=float32", "method=echo, sgpt"]
        + ["layer=8", "cache=null", "adapter=[a,b]", "--matrix", "-5", "--", "layer=9", "--help"]
    )
    assert request.texts == ["a cat", "x > y = z", "-5", "layer=9", "--help"]
    assert request.methods == ["echo", "sgpt"] and request.matrix
    assert request.keys == {
        "pooling": "mean",
        "dtype": "float32",
        "layer": 8,
        "cache": None,
        "adapter": ["a", "b"],
    }
    assert parse(["a", ""]).texts == ["a", ""] and not parse(["a", ""]).methods


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "0 texts are too few"),
        (["one", "layer=2"], "1 texts are too few"),
        (["a", "b", "layer=1", "layer=2"], "layer is given twice"),
        (["a", "b", "--matrx"], "no option '--matrx'; valid: --matrix"),
        (["-a", "b"], "goes after --"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse(arguments)


def test_similarities_are_those_of_the_encoders_by_their_sides_and_instruction():
    request = Request(TEXTS, ["llm2vec", "sgpt"], "Find it:", True, {**TINY, "layer": 2})
    rows, left_out = compare(request)
    assert list(rows) == ["llm2vec", "sgpt"] and not left_out
    for name, row in rows.items():
        encoder = load_encoder(name, **TINY, layer=2)
        given = {"instruction": "Find it:"} if name == "llm2vec" else {}
        query = encoder.encode(TEXTS[:1], prompt_type="query", **given)[0]
        others = encoder.encode(TEXTS[1:], prompt_type="document")
        expected = [cosine(query, other) for other in others]
        assert np.allclose(row.to_query, expected, atol=1e-5)
        alike = encoder.encode(TEXTS, **given)
        assert row.matrix[1, 2] == pytest.approx(cosine(alike[1], alike[2]), abs=1e-5)
        assert row.uses_instructions == (name == "llm2vec")


@pytest.fixture
def no_baseline(monkeypatch):
    """Every method on the tiny model; the baseline's own model is of another test."""
    import methods

    def load(name, **keys):
        return load_encoder(name, **{**keys, "model": "tiny"})

    monkeypatch.setattr(methods, "load_encoder", load)


def test_all_methods_have_a_row_the_baseline_last_and_without_the_fields(no_baseline):
    rows, left_out = compare(Request(TEXTS, [], "Find it:", False, {**TINY, "layer": 1}))
    assert list(rows)[-1] == "sentence_encoder"
    assert {*rows, *left_out} == set(list_choices("method"))
    assert set(left_out) == {"contrastive_prompting", "value_aggregation"}
    assert "layer=1 has no effect on ValueAggregation" in left_out["value_aggregation"]
    assert all(row.matrix is None and row.to_query.shape == (2,) for row in rows.values())
    output = "\n".join(
        format_output(Request(TEXTS, [], "Find it:", False, {**TINY, "layer": 1}), rows)
    )
    assert "with dtype=float32 layer=1, sentence_encoder as it is" in output
    asked = ", ".join(name for name, row in rows.items() if row.uses_instructions)
    assert "e5_instruct" in asked and f"instruction of {asked}: 'Find it:'" in output


def test_a_field_that_only_some_methods_have_leaves_the_others_out_with_the_reason(no_baseline):
    request = Request(TEXTS, [], "Find it:", False, {**TINY, "template": "instruct"})
    rows, left_out = compare(request)
    assert list(rows) == ["echo", "sentence_encoder"]
    assert "template 'instruct' is unknown; valid: plain, brackets" in left_out["sgpt"]
    assert "template is no field of method cpt_text" in left_out["cpt_text"]


@pytest.mark.parametrize(
    ("methods", "keys", "message"),
    [
        (
            [],
            {"layr": 1},
            r"did you mean layer\? \(a text that contains = goes after --\)",
        ),
        (["echo"], {"layer": 9}, "layer 9 is out of range"),
        (["eco"], {}, "method 'eco' is unknown; .*did you mean echo"),
        (["echo"], {"layer": [1, 2]}, "an encoder has one layer"),
        (["echo"], {"model": "tinny"}, "model 'tinny' is unknown"),
    ],
)
def test_what_no_method_can_do_is_an_error(methods, keys, message, no_baseline):
    if "model" in keys:
        with pytest.raises(ValueError, match=message):
            load_encoder("echo", **keys)
        return
    with pytest.raises(ValueError, match=message):
        compare(Request(TEXTS, methods, "Find it:", False, {**TINY, **keys}))


def test_a_text_with_a_lone_surrogate_is_named():
    with pytest.raises(ValueError, match="text 1 has a lone surrogate"):
        compare(Request(["a", "\udc80"], ["sgpt"], "", False, TINY))


def test_the_tables_mark_the_nearest_and_keep_texts_on_one_line():
    matrix = np.array([[1, 0.5, 0.25], [0.5, 1, 0.125], [0.25, 0.125, 1]])
    rows = {
        "one": Row("org/model (float32)", False, np.array([0.5, -0.25]), matrix),
        "longer_name": Row("org/model (float32)", True, np.array([0.1, np.nan]), None),
        "same": Row("org/model (float32)", False, np.array([0.7, 0.7]), None),
    }
    texts = ["a\n  cat", "猫" * 80, "\x1b[31mred"]
    assert format_output(Request(texts, ["one"], "Find it", True, {}), rows) == [
        "query: a cat",
        "    1: " + "猫" * 36 + "…",
        "    2: \\x1b[31mred",
        "",
        "Cosine x 100 of the query with each text; * is a method's nearest. Compare within",
        "a row: methods differ in scale.",
        "",
        "                   1         2",
        "one             50.0*    -25.0",
        "longer_name     10.0*        –",
        "same            70.0*     70.0*",
        "",
        "one: all texts with each other, encoded as symmetric texts",
        "         query         1         2",
        "query    100.0      50.0      25.0",
        "1         50.0     100.0      12.5",
        "2         25.0      12.5     100.0",
        "",
        "on org/model (float32)",
        "instruction of longer_name: 'Find it' (instruction=...)",
    ]


def test_the_verb_runs_as_a_command_with_a_plugin_and_one_method_gives_its_matrix(tmp_path):
    write_readme_files(tmp_path)
    given = ["model=tiny", "method=shout", "--config-dir", "mine", "emphasis=?"]
    code, output = dec2vec("try", *given, "--", "-1", 'say "1"\n', "a=b", cwd=tmp_path)
    assert code == 0, output
    assert "query: -1" in output and '    1: say "1"' in output and "    2: a=b" in output
    assert "shout: all texts with each other" in output and "1 methods, 3 texts" in output
    assert "try" in VERBS


def test_a_mistake_is_one_line_and_help_needs_no_model(tmp_path):
    code, output = dec2vec("try", "only one", cwd=tmp_path)
    assert (
        code != 0
        and output.startswith("dec2vec try: 1 texts are too few")
        and output.count("\n") == 1
    )
    code, output = dec2vec("try", "--help", cwd=tmp_path)
    assert code == 0 and "The first text is the query" in output
    loaded = "import sys; sys.argv = ['x']; import methods.cli.try_; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
