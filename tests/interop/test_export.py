"""Every method is exported, and the folder gives its vectors where dec2vec is not installed."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from methods.interop.equality import compare_vectors, list_texts
from methods.interop.export import run_export
from methods.interop.prompts import Prompt
from tests.interop.conftest import build

INSTRUCTION = "Given a question, retrieve passages that answer it"
SPANS = '''
"""Between marks, by a helper beside it; and a pooling of its own."""
from dataclasses import dataclass
import marks
from marks import *
from methods.base import Method, Span, encode_spans, pool_inputs
from methods.base import eos_ids as endings

@dataclass(frozen=True, kw_only=True)
class Marked(Method):
    """Marked (you, this year): the text between marks."""
    mark: str = "*"

    def prepare_inputs(self, texts, *, tokenizer, prompt_type=None, instruction=None):
        side = marks.SIDES[prompt_type or "query"]
        rows = [
            (Span(self.mark), Span(side), Span(text, cut=True), Span(endings(tokenizer)))
            for text in texts
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD, inputs):
        return scale(pool_inputs(hidden_BLD, inputs, self.pooling))[:, :20]
'''
MARKS = """
SIDES = {"query": "q", "document": "d"}

def scale(vectors):
    return 2 * vectors
"""
AXES = "attention: causal\npooling: last\nlayer: -1\nnormalize: false\nmax_length: 64\n"
# folder -> what the command says beside model and out; e5 and llm2vec need an instruction.
INSTRUCTED = f"instruction='{INSTRUCTION}'"
CASES = {
    "cpt_text": ["method=cpt_text"],
    "udever": ["method=udever"],
    "sgpt": ["method=sgpt"],
    "brackets": ["method=sgpt", "template=sgpt_brackets"],
    "prompteol": ["method=prompteol"],
    "icl": ["method=prompteol", "method.demonstration=[a cat,Cat]"],
    "pretended_cot": ["method=pretended_cot"],
    "meta_eol": ["method=meta_eol", "method.prompts=[4,5]"],
    "reverse_eol": ["method=reverse_eol"],
    "echo": ["method=echo"],
    "echo_instruct": ["method=echo", "template=echo_instruct", INSTRUCTED],
    "repllama": ["method=repllama"],
    "e5_instruct": ["method=e5_instruct", INSTRUCTED],
    "llm2vec": ["method=llm2vec", INSTRUCTED],
    "sentence_encoder": ["method=sentence_encoder"],
    "cls": ["method=sentence_encoder", "method.pooled=cls", "method.query_prefix='find: '"],
    "bidirectional": ["method=cpt_text", "attention=bidirectional", "normalize=true"],
    "deep": ["method=repllama", "layer=2"],
    "embeddings": ["method=echo", "layer=0"],
    "marked": ["method=marked"],
    "spread": ["method=echo", "pooling=spread"],
}
STOCK = {"cpt_text", "udever", "bidirectional"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder of a user's own: a method with a helper, a pooling."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "method").mkdir()
    (folder / "marked.py").write_text(SPANS)
    (folder / "marks.py").write_text(MARKS)
    (folder / "method" / "marked.yaml").write_text(f"_target_: marked.Marked\n{AXES}")
    (folder / "pooling.py").write_text(
        "def spread(hidden_BLD, pool_mask_BL):\n"
        "    return hidden_BLD.masked_fill(~pool_mask_BL[:, :, None], 0).square().sum(1)\n"
    )
    return str(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, own):
    """Every case exported: {name: (job, what was written)}."""
    place, found = tmp_path_factory.mktemp("exports"), {}
    for name, words in CASES.items():
        job = build("model=tiny", *words, f"out={place / name}", config_dir=own)
        found[name] = (job, run_export(job))
    return found


@pytest.fixture(scope="module")
def texts():
    from methods.backbone.tiny import make_byte_tokenizer

    return list_texts(make_byte_tokenizer(), 600)


@pytest.fixture(scope="module")
def loaded(exported, reload, texts):
    return reload([job.out for job, _ in exported.values()], texts)


@pytest.mark.parametrize("name", CASES)
def test_an_exported_folder_gives_the_methods_vectors_without_dec2vec(
    name, exported, loaded, texts, own
):
    from methods.backbone.loader import load_backbone
    from methods.encoding.encoder import Encoder

    job, written = exported[name]
    encoder = Encoder(load_backbone(replace(job.spec, dtype="float32")), job.method)
    given = INSTRUCTION if job.method.uses_instructions else None
    wanted = {
        "query": encoder.encode(texts, prompt_type="query", instruction=given),
        "document": encoder.encode(texts, prompt_type="document"),
        "alike": encoder.encode(texts, instruction=given),
    }
    assert written.kind == ("stock" if name in STOCK else "custom"), written.reason
    assert not written.equality.deviations and written.equality.same_ids == 48
    for way, side in (("query",) * 2, ("document",) * 2, ("named", "document"), ("alike",) * 2):
        for made, one in zip(loaded[f"{name}.{way}"], wanted[side], strict=True):
            cosine, length = compare_vectors(made, one)
            assert cosine > 0.99999 and length == pytest.approx(1, abs=1e-3), way
    reaches = loaded[f"{name}.reach"] > 1e-4
    assert reaches == (job.method.attention == "bidirectional")
    assert loaded[f"{name}.dimension"] == len(wanted["query"][0])


def test_the_folder_states_attention_prompts_and_no_chat_template(exported):
    for name, (job, _) in exported.items():
        config = json.loads((job.out / "config.json").read_text())
        causal = job.method.attention == "causal"
        assert config.get("is_causal") is (None if causal else False), name
        assert not (job.out / "chat_template.jinja").exists()
        assert "chat_template" not in (job.out / "tokenizer_config.json").read_text()
        about = json.loads((job.out / "config_sentence_transformers.json").read_text())
        assert set(about["prompts"]) == {"query", "document"}
    e5 = json.loads((exported["e5_instruct"][0].out / "dec2vec_method.json").read_text())
    assert e5["prompts"]["query"]["instruction"] == INSTRUCTION
    stock = json.loads((exported["cpt_text"][0].out / "modules.json").read_text())
    assert [one["type"] for one in stock] == [
        "sentence_transformers.models.Transformer",
        "sentence_transformers.models.Pooling",
    ]


def test_the_readme_says_how_it_is_loaded_and_which_servers_read_it(exported):
    stock = (exported["cpt_text"][0].out / "README.md").read_text()
    assert "library_name: sentence-transformers" in stock and "license:" not in stock[:200]
    assert 'model_kwargs={"dtype": "bfloat16"}' in stock and "trust_remote_code" not in stock
    assert "of llama.cpp's poolings `last` fits" in stock and "it does not list `llama`" in stock
    assert re.search(r"dec2vec export .*model=tiny method=cpt_text out=", stock)
    custom = (exported["echo_instruct"][0].out / "README.md").read_text()
    assert "trust_remote_code=True" in custom and "No pooling of llama.cpp fits" in custom
    assert f"query_instruction='{INSTRUCTION}'" in custom
    assert "48 of 48 texts" in custom
    e5 = (exported["e5_instruct"][0].out / "README.md").read_text()
    assert "does not scale those of mteb's Classification" in e5
    assert "In mteb's Reranking dec2vec encodes documents as queries" in e5


def test_no_copied_file_imports_dec2vec(exported):
    for job, written in exported.values():
        for file in written.code:
            text = (job.out / file).read_text()
            assert not re.search(r"^\s*(from|import) (methods|marks)\b", text, re.M), file


def test_modules_stock_is_written_with_its_deviations(tmp_path, caplog):
    words = ["model=tiny", "method=repllama", "modules=stock", f"out={tmp_path / 'r'}"]
    written = run_export(build(*words))
    found = written.equality.deviations
    assert written.kind == "stock" and {one.prompt for one in found} == {"document"}
    assert "  blanks before and behind  " in {one.text for one in found}
    assert "stock modules deviate: document" in caplog.text
    readme = (tmp_path / "r" / "README.md").read_text()
    assert "| query | `query: ` |" in readme and f"{len(found)} texts deviate" in readme


def test_a_folder_is_written_once_and_never_over_another(tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "x"
    out.mkdir()  # an empty folder is as good as none
    words = ["model=tiny", "method=cpt_text", f"out={out}"]
    assert run_export(build(*words)) is not None
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    assert run_export(build(*words)) is None and "is this export already" in caplog.text
    assert before == {file: file.stat().st_mtime_ns for file in out.iterdir()}
    with pytest.raises(ValueError, match="holds another export; give another out=DIR"):
        run_export(build(*words, "method.max_length=7"))
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds something that is no export"):
        run_export(build(*words[:2], f"out={tmp_path / 'y'}"))
    assert [file.name for file in tmp_path.iterdir() if file.name[0] == "."] == []


def test_weights_are_written_in_the_dtype_that_is_given(tmp_path):
    from safetensors.torch import load_file

    words = ["model=tiny", "method=sgpt", "model.dtype=bfloat16", f"out={tmp_path / 'half'}"]
    written = run_export(build(*words))
    kinds = {str(t.dtype) for t in load_file(tmp_path / "half" / "model.safetensors").values()}
    assert kinds == {"torch.bfloat16"} and written.equality.dtype == "float32"
    assert written.equality.smallest_cosine > 0.99999


def test_several_instructions_are_a_prompt_each(tmp_path):
    job = build("model=tiny", "method=e5_instruct", "task=[STS12,DemoLee]", f"out={tmp_path / 'e'}")
    assert job.prompts[0].instruction == job.prompts[2].instruction
    assert [one.name for one in job.prompts] == ["query", "document", "STS12", "DemoLee"]
    written = run_export(job)
    assert written.equality.texts == 96 and not written.equality.deviations
    about = json.loads((tmp_path / "e" / "config_sentence_transformers.json").read_text())
    assert about["prompts"]["DemoLee"] == job.prompts[3].instruction


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=e5_instruct"], "an exported folder holds as its prompt; give instruction="),
        (["method=echo", "instruction=x"], "Echo uses no instruction; leave instruction="),
        (["method=echo", "layer=[1,2]"], "an exported folder has one pooling, layer and normalize"),
        (["method=echo", "out=???"], "out has no value yet; give out=OUT"),
        (["method=echo", "base_model=x"], "base_model is for format=adapter"),
        (["method=echo", "format=onnx"], "format 'onnx' is unknown; valid: sentence_transformers"),
        (["method=echo", "modules=old"], "modules 'old' is unknown; valid: auto, stock, custom"),
        (["method=echo", "modules=stock"], "modules=stock cannot be written for echo"),
        (["method=echo", "model.four_bit=true"], "in 4 bits: adapters cannot be merged"),
        (["method=echo", "records=nowhere"], "records=nowhere holds no records"),
        (["method=htp"], "htp changes states within the pass, which an exported folder does not"),
        (["method=sgpt", "out=/proc/x"], "the out folder /proc cannot be written"),
        (["method=cpt_text", "method.max_length=9999"], "lower method.max_length"),
    ],
)
def test_what_cannot_be_exported_is_said(words, message, tmp_path):
    if not any(word.startswith("out=") for word in words):
        words = [*words, f"out={tmp_path / 'x'}"]
    extra = [f"+{word}" if word.startswith("model.four_bit") else word for word in words]
    with pytest.raises(ValueError, match=re.escape(message)):
        run_export(build("model=tiny", *extra))
    assert not list(tmp_path.iterdir())


def test_a_method_that_depends_on_more_than_its_arguments_is_refused(tmp_path, own):
    from pathlib import Path

    (Path(own) / "counted.py").write_text(
        SPANS.replace("Marked", "Counted").replace(
            "side = ", "marks.SIDES['query'] += '!'; side = "
        )
    )
    (Path(own) / "method" / "counted.yaml").write_text(f"_target_: counted.Counted\n{AXES}")
    words = ["model=tiny", "method=counted", f"out={tmp_path / 'x'}"]
    with pytest.raises(ValueError, match="does not give the vectors of counted.*Nothing was writ"):
        run_export(build(*words, config_dir=own))
    assert not list(tmp_path.iterdir())


def test_a_prompt_names_a_side_and_another_text_is_an_instruction(exported):
    from sentence_transformers import SentenceTransformer

    def load(name):
        return SentenceTransformer(str(exported[name][0].out), device="cpu", trust_remote_code=True)

    brackets = load("brackets")
    with pytest.raises(ValueError, match="prompt 'search: ' is unknown; a prompt names the side"):
        brackets.encode(["a"], prompt="search: ")
    by_prompt = brackets.encode(["a"], prompt="document")  # as LlamaIndex does
    assert np.allclose(by_prompt, brackets.encode_document(["a"]))
    assert not np.allclose(by_prompt, brackets.encode_query(["a"]))
    e5 = load("e5_instruct")
    other = e5.encode(["a"], prompt="Find the same")
    assert not np.allclose(other, e5.encode_query(["a"]))
    assert Prompt("query", "query", "x").text == "x"


def test_a_saved_copy_of_a_folder_is_the_same(exported, tmp_path, reload):
    from sentence_transformers import SentenceTransformer

    folders = []
    for name in ("marked", "spread"):
        out = str(exported[name][0].out)
        model = SentenceTransformer(out, device="cpu", trust_remote_code=True)
        model.save_pretrained(str(tmp_path / f"copy_{name}"))
        folders += [out, tmp_path / f"copy_{name}"]
    found = reload(folders, ["one text"])
    for name in ("marked", "spread"):
        assert np.allclose(found[f"{name}.query"], found[f"copy_{name}.query"])


def test_the_readme_shows_scores_of_the_same_digest_alone(tmp_path):
    from methods.backbone.loader import identify_backbone
    from methods.encoding.mteb_interface import describe_variant

    words = ["model=tiny", "method=sgpt", f"out={tmp_path / 'x'}", f"records={tmp_path / 'runs'}"]
    job = build(*words)
    for dtype, cell, score in (
        ("bfloat16", job.method, 0.51),
        ("float32", job.method, 0.52),
        ("float32", replace(job.method, pooling="last"), 0.99),
    ):
        variant = describe_variant(
            cell,
            method="sgpt",
            identity={**identify_backbone(job.spec), "dtype": dtype},
            instructions=job.instructions,
        )
        folder = tmp_path / "runs" / "results" / f"{score}"
        (folder / "record").mkdir(parents=True)
        entry = {"status": "done", "main_score": "cosine_spearman", "date": "2026-11-28T10:00:00"}
        entry |= {"splits": ["test"], "subsets": ["default"], "commit": "abc"}
        record = {"dtype": dtype, "digest": variant.experiment["digest"], "tasks": {"STS12": entry}}
        (folder / "record" / "run.json").write_text(json.dumps(record))
        scores = {"test": [{"hf_subset": "default", "main_score": score}]}
        (folder / "STS12.json").write_text(json.dumps({"scores": scores}))
    run_export(job)
    readme = (tmp_path / "x" / "README.md").read_text()
    line = "| STS12 | test | default | cosine_spearman | 51.00 | bfloat16 | 2026-11-28 | abc |"
    assert line in readme and "52.00" in readme and "99.00" not in readme
