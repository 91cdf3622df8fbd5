"""The prompted methods equal a plain loop over texts, one at a time, on transformers alone.

Written from the papers' official codes, not from the pages: a string is filled in and tokenized,
the model runs over it, and states are changed by hooks of its own.
"""

from contextlib import ExitStack

import numpy as np
import pytest
import torch

TEXTS = [
    "A man is playing a guitar.",
    "Is it raining?",
    'He said "no" and left',
    "one",
    "",
    "Numbers like 1,234 and 5.6; names like Ångström; 短い文 🙂",
    "A plane is taking off. " * 4,
]
EOL = 'This sentence : "*sent 0*" means in one word:"'
COT = 'After thinking step by step , this sentence : "*sent 0*" means in one word:"'
KE = (
    "The essence of a sentence is often captured by its main subjects and actions, while "
    "descriptive terms provide additional but less central details. With this in mind , this "
    'sentence : "*sent 0*" means in one word:"'
)
STH, SUM = (
    'This sentence : "*sent 0*" means something',
    'This sentence : "*sent 0*" can be summarized as',
)
IRRELEVANT = 'The irrelevant information of this sentence : "*sent 0*" means in one word:"'
# The sixth and the eighth of MetaEOL's.
SIXTH = (
    "In this task, you're given a sentence and a phrase. Your task is to determine if the phrase "
    "can be a contextual synonym within the given sentence. Options include 'yes', 'no', or "
    "'partially'. To enhance the performance of this task, this sentence : \"*sent 0*\" means in "
    'one word:"'
)
EIGHTH = (
    "In this task, you're reviewing a scientific abstract. Your task is to identify the main "
    "entities (e.g., proteins, diseases) and their relations (e.g., causes, treats). For this "
    'task, this sentence : "*sent 0*" highlights the primary entity or relation in one word:"'
)


def filled(template, text):
    if len(text) > 0 and text[-1] not in ".?\"'":
        text = text + "."
    text = text.replace('"', "'")
    if len(text) > 0 and text[-1] == "?":
        text = text[:-1] + "."
    return template.replace("*sent 0*", text).strip()


def tokens(tokenizer, text):
    return tokenizer(text)["input_ids"]


def last_state(model, ids, layer, hooks=()):
    with ExitStack() as stack, torch.inference_mode():
        for module, hook in hooks:
            stack.callback(module.register_forward_pre_hook(hook).remove)
        found = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return found.hidden_states[layer][0, -1].double()


def prompted(template):
    def encode(model, tokenizer, text, layer):
        ids = tokens(tokenizer, filled(template, text))
        return [ids], last_state(model, ids, layer)

    return encode


def averaged(*templates):
    def encode(model, tokenizer, text, layer):
        rows = [tokens(tokenizer, filled(template, text)) for template in templates]
        return rows, sum(last_state(model, ids, layer) for ids in rows) / len(rows)

    return encode


def prepended(template, start, stop, *, mean=False):
    def encode(model, tokenizer, text, layer):
        first, rest = filled(template, text).split("<PST>")
        left = tokens(tokenizer, first)
        ids = [*left, tokens(tokenizer, " ")[0], *tokens(tokenizer, rest)]

        def overwrite(_, args):
            states = args[0].clone()
            states[:, len(left)] = states.mean(1) if mean else states[:, -1]
            return (states, *args[1:])

        hooked = model.layers[start : min(stop, len(model.layers))]
        return [ids], last_state(model, ids, layer, [(one, overwrite) for one in hooked])

    return encode


def contrasted(template, at, scale):
    def encode(model, tokenizer, text, layer):
        rows = [tokens(tokenizer, filled(one, text)) for one in (template, IRRELEVANT)]
        projection, found = model.layers[at].self_attn.o_proj, []
        last_state(model, rows[1], -1, [(projection, lambda _, args: found.append(args[0][0, -1]))])

        def subtract(_, args):
            states = args[0].clone()
            own, other = states[0, -1], found[0]
            factor = scale if scale else own.norm() / (own - other).norm()
            states[0, -1] = (own - other) * factor
            return (states,)

        return rows, last_state(model, rows[0], layer, [(projection, subtract)])

    return encode


def backwards(model, tokenizer, text, layer):
    words = filled("*sent 0*", text)
    stop = words[-1:] if words[-1:] == "." else ""
    turned = " ".join(reversed(words[: len(words) - len(stop)].split())) + stop
    rows = [tokens(tokenizer, EOL.replace("*sent 0*", one)) for one in (words, turned)]
    return rows, sum(last_state(model, ids, layer) for ids in rows) / 2


def hierarchical(model, tokenizer, text, layer):
    """Sentences end with a full stop before a blank here, which is so of TEXTS."""
    text = text.rstrip()
    if text[-1:] not in (".", "?"):
        text += "."
    sentences = text.replace(". ", ".\n ").split("\n")
    blank = tokens(tokenizer, " ")[0]
    ids, slots, ends, places = [blank] * len(sentences), [], [], []
    for sentence in sentences:
        slots.append(len(ids))
        own = tokens(tokenizer, sentence)
        places += range(len(ids) + 1, len(ids) + 1 + len(own))
        ids = [*ids, blank, *own]
        ends.append(len(ids) - 1)

    def overwrite(_, args):
        states = args[0].clone()
        for number, (slot, end) in enumerate(zip(slots, ends, strict=True)):
            states[:, number] = states[:, slot] = args[0][:, end]
        return (states, *args[1:])

    with ExitStack() as stack, torch.inference_mode():
        for module in model.layers[1:7]:
            stack.callback(module.register_forward_pre_hook(overwrite).remove)
        found = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return [ids], found.hidden_states[layer][0, places].double().mean(0)


def valued(kind, first, last):
    def encode(model, tokenizer, text, layer):
        ids, found = tokens(tokenizer, text) or [tokenizer.bos_token_id], []
        with ExitStack() as stack, torch.inference_mode():
            for one in model.layers[first:last]:
                if kind == "values":
                    hook = one.self_attn.v_proj.register_forward_hook(
                        lambda _, args, values: found.append(values[0].double().mean(0))
                    )
                else:
                    hook = one.self_attn.o_proj.register_forward_pre_hook(
                        lambda _, args: found.append(args[0][0, -1].double())
                    )
                stack.callback(hook.remove)
            model(torch.tensor([ids]), use_cache=False)
        return [ids], sum(found) / len(found)

    return encode


SLOT = EOL.replace('"*', '<PST> "*', 1)
CASES = [
    ("pretended_cot", {}, prompted(COT)),
    ("pretended_cot", {"layer": -1}, prompted(COT)),
    ("pretended_cot", {"template": "knowledge"}, prompted(KE)),
    ("pretended_cot", {"template": "something", "layer": -1}, prompted(STH)),
    ("pretended_cot", {"template": "summarized", "layer": -1}, prompted(SUM)),
    ("meta_eol", {"prompts": (6, 8)}, averaged(SIXTH, EIGHTH)),
    ("meta_eol", {"prompts": (8,), "layer": -2}, averaged(EIGHTH)),
    ("token_prepending", {}, prepended(SLOT, 1, 7)),
    ("token_prepending", {"start": 2, "stop": 3, "layer": -1}, prepended(SLOT, 2, 3)),
    ("token_prepending", {"source": "mean"}, prepended(SLOT, 1, 7, mean=True)),
    (
        "token_prepending",
        {"template": "knowledge"},
        prepended(KE.replace('"*', '<PST> "*', 1), 1, 7),
    ),
    ("reverse_eol", {}, backwards),
    ("htp", {}, hierarchical),
    ("value_aggregation", {}, valued("values", -3, None)),
    ("value_aggregation", {"first": 0, "last": 1}, valued("values", 0, 2)),
    (
        "value_aggregation",
        {"read": "heads", "pooling": "last", "first": 1, "last": 2},
        valued("heads", 1, 3),
    ),
    ("contrastive_prompting", {"at": 1}, contrasted(EOL, 1, 0.5)),
    ("contrastive_prompting", {"at": 1, "scale": None}, contrasted(EOL, 1, None)),
    ("contrastive_prompting", {"at": 1, "template": "pretended_cot"}, contrasted(COT, 1, 0.5)),
]
AT_LAST = ("meta_eol", "reverse_eol")
NAMES = [f"{name} {fields}" for name, fields, _ in CASES]


REAL = (0, 5, 7, 9, 12, 14)


def check(loaded, model, layer, encode, texts):
    tokenizer = loaded.backbone.tokenizer
    expected = [encode(model, tokenizer, text, layer) for text in texts]
    ids = loaded.method.prepare_inputs(texts, tokenizer=tokenizer).ids
    assert ids == [row for rows, _ in expected for row in rows]
    wanted = torch.stack([vector for _, vector in expected])
    found = torch.from_numpy(loaded.encode(texts)).double()
    assert torch.nn.functional.cosine_similarity(found, wanted).min() >= 0.99999
    assert (found - wanted).abs().max() < 2e-3 * wanted.abs().max()


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize(("name", "fields", "encode"), CASES, ids=NAMES)
def test_a_vector_equals_the_plain_loops(name, fields, encode, packed, encoder):
    loaded = encoder(name, packed=packed, linears="torch", **fields)
    layer = fields.get("layer", -1 if name in AT_LAST else -2)
    check(loaded, loaded.model, layer, encode, TEXTS)


@pytest.mark.parametrize("case", REAL, ids=[NAMES[case] for case in REAL])
def test_on_a_real_model_too(case, smollm2):
    name, fields, encode = CASES[case]
    loaded = smollm2(name, **fields)
    from transformers import AutoModel

    plain = AutoModel.from_pretrained(
        loaded.model.config._name_or_path, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    check(loaded, plain, -1 if name in AT_LAST else -2, encode, TEXTS[:4])


@pytest.mark.parametrize(("name", "fields", "encode"), CASES[5:], ids=NAMES[5:])
def test_bidirectional_attention_packs_as_it_pads(name, fields, encode, encoder):
    both = [
        encoder(name, attention="bidirectional", packed=packed, **fields).encode(TEXTS)
        for packed in (True, False)
    ]
    assert np.abs(both[0] - both[1]).max() < 1e-5 * max(1, np.abs(both[0]).max())


def test_steering_and_its_fields_change_vectors(encoder):
    plain = encoder("prompteol", layer=-2).encode(TEXTS)
    contrasted = [
        encoder("contrastive_prompting", at=at, scale=scale).encode(TEXTS)
        for at, scale in [(0, 0.5), (1, 0.5), (1, 0.25), (1, None)]
    ]
    for place, one in enumerate([plain, *contrasted]):
        for other in contrasted[place:]:
            assert np.abs(one - other).max() > 1e-4


def test_a_layer_that_the_model_lacks_is_refused_by_name(encoder):
    with pytest.raises(ValueError, match="ContrastivePrompting changes states at heads 4.* 0 to 2"):
        encoder("contrastive_prompting")


@pytest.mark.parametrize(
    "family, paper",
    [("prompt", "prompteol"), ("prompt_echo", "echo"), ("prompt_instruct", "e5_instruct")],
)
def test_a_familys_own_wording_is_its_papers(family, paper, encoder):
    ours, theirs = encoder(family), encoder(paper)
    tokenizer = theirs.backbone.tokenizer
    for side in (None, "query", "document"):
        for instruction in (None, "Find it"):
            asked = {"tokenizer": tokenizer, "prompt_type": side, "instruction": instruction}
            mine, official = (one.method.prepare_inputs(TEXTS, **asked) for one in (ours, theirs))
            assert list(map(list, mine.ids)) == list(map(list, official.ids))
            assert list(map(list, mine.pool_mask)) == list(map(list, official.pool_mask))


def test_a_wording_without_a_place_for_the_text_is_refused(encoder):
    with pytest.raises(ValueError, match=r"prompt is 'Say it'; it needs \{text\}"):
        encoder("prompt", prompt="Say it")
    with pytest.raises(ValueError, match=r"document is ''; it needs \{text\}"):
        encoder("prompt", document="")
