"""cpt-text (arXiv 2201.10005). No code was released: the paper's v = E([SOS] + x + [EOS])."""

from tests.parity.plain import Group, Row

CODE = "none released: the paper's formula"
PADDING, BIDIRECTIONAL = "right", False
GROUPS = [Group(note="[SOS] and [EOS] are the tokenizer's BOS and EOS")]


def row(tokenizer, text, group):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Row([tokenizer.bos_token_id, *ids, tokenizer.eos_token_id])


def pool(states_BLD, mask_BL, rows):
    return states_BLD[range(len(rows)), mask_BL.sum(1) - 1]
