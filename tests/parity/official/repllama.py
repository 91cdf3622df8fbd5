"""RepLLaMA as Tevatron's current encode driver does with the flags of its RepLLaMA example
(prefixes, --append_eos_token, --pooling last, --normalize)."""

from torch.nn.functional import normalize

from tests.parity.plain import Group, Row

CODE = "texttron/tevatron @dd06310"
PADDING, BIDIRECTIONAL = "right", False
GROUPS = [Group(side="query"), Group(side="document")]


def row(tokenizer, text, group):
    if group.side == "document":
        title = ""
        text = "passage: " + (title + " " + text).strip()
    else:
        text = "query: " + text
    ids = tokenizer(text, truncation=True, max_length=512 - 1)["input_ids"]
    return Row([*ids, tokenizer.eos_token_id])


def pool(states_BLD, mask_BL, rows):
    ends_B = mask_BL.sum(dim=1) - 1
    return normalize(states_BLD[range(len(rows)), ends_B], p=2, dim=-1)
