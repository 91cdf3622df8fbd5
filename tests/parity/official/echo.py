"""Echo as the parser of its repository reads a template: literal and {braced} pieces, each
tokenized alone and cut to max_length; %%names%% are put in, and {!braces} are not pooled.

The zero-shot prompt is in no code; its author confirmed it in issue 8.
"""

import re

import torch

from tests.parity.plain import Group, Row

CODE = "jakespringer/echo-embeddings @c752c46"
PADDING, BIDIRECTIONAL = "right", False
ZERO_SHOT = "<s>Rewrite the following paragraph:{! %%text%%}. The rewritten paragraph:{ %%text%%}"
QUERY = "<s>Instruct:{!%%prompt%%,}\nQuery:{!%%text%%}\nQuery again:{%%text%%}{</s>}"
DOCUMENT = "<s>Document:{!%%text%%}\nDocument again:{%%text%%}{</s>}"
INSTRUCT = {"template": "instruct"}
GROUPS = [
    Group(note="the prompt its author gave in its issue 8, by the code's parser"),
    Group(INSTRUCT, side="query", instruction="Retrieve semantically similar text."),
    Group(INSTRUCT, side="document"),
]


def row(tokenizer, text, group):
    template = DOCUMENT if group.side == "document" else QUERY
    template = template if group.fields else ZERO_SHOT
    marks = {"<s>": tokenizer.bos_token, "</s>": tokenizer.eos_token}
    ids: list[int] = []
    pooled: list[bool] = []
    for piece in re.split(r"(<s>|\{.*?\})", template, flags=re.S):
        braced = piece.startswith("{")
        content = piece.strip("{}").removeprefix("!") if braced else piece
        content = marks.get(content, content)
        if braced:
            content = content.replace("%%prompt%%", group.instruction or "")
            content = content.replace("%%text%%", text)
        found = tokenizer(content, add_special_tokens=False, truncation=True, max_length=300)
        ids += found["input_ids"]
        pooled += [braced and not piece.startswith("{!")] * len(found["input_ids"])
    return Row(ids, own=sum(pooled))


def pool(states_BLD, mask_BL, rows):
    embed_BL1 = torch.zeros(*mask_BL.shape, 1)
    for place, one in enumerate(rows):
        embed_BL1[place, len(one.ids) - one.own : len(one.ids)] = 1
    return (states_BLD * embed_BL1).sum(1) / embed_BL1.sum(1)
