"""SGPT as its README encodes symmetric texts, and beir_dense_retriever.py queries and documents.

The script turns line breaks into spaces and strips documents; the README, which is followed, does
neither.
"""

import torch

from tests.parity.plain import Group, Row

CODE = "Muennighoff/sgpt @37c8bf0"
PADDING, BIDIRECTIONAL = "right", False
SPECB = {"template": "brackets", "max_length": 300}
EMPTY = "the empty text is left out: no token, and the code divides by zero"
GROUPS = [
    Group(takes=bool, note=EMPTY),
    Group(SPECB, side="query"),
    Group(SPECB, side="document"),
]


def row(tokenizer, text, group):
    if not group.fields:
        return Row(tokenizer(text)["input_ids"])
    opening, closing = "{}" if group.side == "document" else "[]"
    first, last = (tokenizer.encode(one, add_special_tokens=False)[0] for one in (opening, closing))
    ids = tokenizer(text, truncation=True, max_length=group.fields["max_length"] - 2)["input_ids"]
    return Row([first, *ids, last])


def pool(states_BLD, mask_BL, rows):
    places_L = torch.arange(1, states_BLD.shape[1] + 1)
    weights_BL1 = (places_L * mask_BL)[:, :, None].float()
    return (states_BLD * weights_BL1).sum(1) / weights_BL1.sum(1)
