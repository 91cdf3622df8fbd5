"""`dec2vec compare`: what it reads from the command line, what it prints, and its exit status."""

import json

import numpy as np
import pytest

from methods.cli.compare import parse
from methods.cli.sides import load_sentence_transformer, parse_side
from tests.cli.test_evaluate import dec2vec, write_readme_files


def test_two_encoders_come_first_and_what_follows_holds_for_both():
    request = parse(
        ["sgpt model=tiny", "texts=[a, 'b, c', '']", "st:DIR", "dtype=float32", "limit=3"]
        + ["side=query", "instruction=Find it: now", "out=found/a.json", "column=body"]
    )
    assert (request.a, request.b) == ("sgpt model=tiny", "st:DIR")
    assert request.texts == ["a", "b, c", ""] and request.limit == 3
    assert (request.side, request.instruction) == ("query", "Find it: now")
    assert str(request.out) == "found/a.json" and request.column == "body"
    assert request.shared == {"dtype": "float32"}
    assert parse(["sgpt", "echo", "side=none", "texts=a.txt"]).texts == "a.txt"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sgpt"], "1 encoders are given; give two"),
        (["texts=a.txt", "sgpt"], "1 encoders are given"),
        (["sgpt", "echo", "llm2vec"], "'llm2vec' is a third encoder"),
        (["sgpt", "echo", "limit=0"], "limit=0; it is a number of texts"),
        (["sgpt", "echo", "side=left"], "side=left is unknown; valid: query, document, none"),
        (["sgpt", "echo", "layer=1", "layer=2"], "layer is given twice"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(words, message):
    with pytest.raises(ValueError, match=message):
        parse(words)


def test_a_word_names_a_method_a_model_or_a_file(tmp_path):
    def read(word, **shared):
        side = parse_side(word, shared)
        return side.kind, side.source, dict(side.options)

    shared = {"model": "tiny", "dtype": "float32"}
    assert read("sgpt pooling=mean", **shared) == (
        *("method", "sgpt"),
        {"cache": None, "model": "tiny", "dtype": "float32", "pooling": "mean"},
    )
    assert read("method=echo model=big", **shared)[2]["model"] == "big"
    assert read("adapter=DIR layer=8") == (
        "method",
        "",
        {**{"cache": None}, "adapter": "DIR", "layer": 8},
    )
    assert read("st:org/name prompt='find it: ' max_seq_length=8", **shared) == (
        *("st", "org/name"),
        {"dtype": "float32", "prompt": "find it: ", "max_seq_length": 8},
    )
    assert (
        read("vectors:a.npy")
        == ("vectors", "a.npy", {})
        == read("a.npy").__class__(("vectors", "a.npy", {}))
    )
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    assert read(f"'{folder}' trust_remote_code=true") == (
        *("st", str(folder)),
        {"trust_remote_code": True},
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "an encoder is empty"),
        ("sgtp", "'sgtp' is no method, folder or file; .*did you mean sgpt"),
        ("org/name", "did you mean st:org/name"),
        ("model=tiny", "'model=tiny' names no encoder; A and B come first"),
        ("sgpt 'open", "quote a value as in a shell"),
        ("sgpt layer", "'layer' in 'sgpt layer' is no option KEY=VALUE"),
        ("sgpt layer=1 layer=2", "gives layer twice"),
        ("st:", "names nothing after st:"),
        ("st:DIR max_length=3", "max_length is no option .* did you mean max_seq_length"),
        ("vectors:a.npy dtype=float32", "a file of vectors has no options"),
    ],
)
def test_what_names_no_encoder_is_said(word, message):
    with pytest.raises(ValueError, match=message):
        parse_side(word, {})


def test_a_folder_that_holds_no_model_or_an_adapter_is_said(tmp_path):
    with pytest.raises(ValueError, match="neither modules.json nor config.json"):
        parse_side(str(tmp_path), {})
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="is an adapter: .* adapter="):
        parse_side(str(tmp_path), {})


def test_equal_encoders_end_with_0_and_others_with_1_and_a_file_for_programs(tmp_path):
    given = ["model=tiny", "dtype=float32", "texts=[a cat, a dog runs, the end of it]"]
    code, output = dec2vec("compare", "sgpt", "sgpt", *given, cwd=tmp_path)
    assert code == 0 and "No difference: every stage" in output, output
    assert "token ids            3 of 3 equal" in output
    given.append("out=found/a.json")
    code, output = dec2vec("compare", "cpt_text", "sgpt pooling=mean", *given, cwd=tmp_path)
    assert code == 1, output
    assert "    A  '⟦<s>⟧a cat⟦</s>⟧'\n    B  'a cat'" in output
    assert "First difference: text as prepared and token ids (3 of 3 texts)" in output
    assert "Usual cause:" in output and "Also: pooling (A token 15 of 15" in output
    found = json.loads((tmp_path / "found" / "a.json").read_text())
    assert found["agrees"] is False and found["stages"][1]["differs"] is True
    assert found["encoders"]["B"]["texts"][0]["prepared"] == "a cat"
    assert found["agreement"]["nearest"] == 1


def test_a_file_of_vectors_is_compared_and_what_cannot_be_ends_with_2(tmp_path):
    from methods import load_encoder

    encoder = load_encoder("sgpt", model="tiny", dtype="float32", cache=None)
    np.save(tmp_path / "v.npy", encoder.encode(["a cat", "a dog"]))
    given = ["vectors:v.npy", "model=tiny", "dtype=float32"]
    code, output = dec2vec("compare", "sgpt", *given, "texts=[a cat,a dog]", cwd=tmp_path)
    assert code == 0 and "not known of B: text as prepared, token ids" in output, output
    code, output = dec2vec("compare", "sgpt", *given, cwd=tmp_path)
    assert code == 2 and output.strip().endswith("(texts=FILE), or fewer (limit=2)"), output
    write_readme_files(tmp_path)
    given = ["shout", "shout emphasis='?'", "--config-dir", "mine", "model=tiny", "texts=[a cat]"]
    code, output = dec2vec("compare", *given, cwd=tmp_path)
    assert code == 1 and "    A  'a cat!!!⟦</s>⟧'\n    B  'a cat?⟦</s>⟧'" in output, output
    code, output = dec2vec("compare", "v.npy", "v.npy", cwd=tmp_path)
    assert code == 0 and "2 rows" in output, output
    code, output = dec2vec("compare", "v.npy", "v.npy", "layer=2", cwd=tmp_path)
    assert code == 2 and "layer= is no option" in output, output


def test_a_folder_with_code_of_its_own_is_loaded_only_where_that_is_trusted(tmp_path):
    (tmp_path / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]'
    )
    side = parse_side(f"st:{tmp_path}", {})
    with pytest.raises(ValueError, match="code of its own; if you trust that, add trust_remote_"):
        load_sentence_transformer(side)
    side = parse_side(f"st:{tmp_path} trust_remote_code=true", {})
    with pytest.raises(ValueError, match="cannot be loaded: No module named 'own'"):
        load_sentence_transformer(side)
