"""UDEVER as the model cards of izhx/udever-bloom-* encode: the start token before the text as a
string, left padding, then the end token's id behind every row."""

from tests.parity.plain import Group, Row

CODE = "izhx/udever-bloom-* (model cards; izhx/uni-rep @1ded15d)"
PADDING, BIDIRECTIONAL = "left", False
NEW, TOKENS = {"delimiters": "new"}, ("[BOQ]", "[EOQ]", "[BOD]", "[EOD]")
BLOOM = "the released models are BLOOM's; here the four tokens are added with random rows"
GROUPS = [
    Group(note="BOS and EOS for the four tokens"),
    Group(NEW, side="query", new_tokens=TOKENS, note=BLOOM),
    Group(NEW, side="document", new_tokens=TOKENS, note=BLOOM),
]


def row(tokenizer, text, group):
    start, end = tokenizer.bos_token, tokenizer.eos_token
    if group.fields:
        start, end = TOKENS[2:] if group.side == "document" else TOKENS[:2]
    ids = tokenizer(start + text, truncation=True, max_length=300 - 1)["input_ids"]
    return Row([*ids, tokenizer.convert_tokens_to_ids(end)])


def pool(states_BLD, mask_BL, rows):
    return states_BLD[:, -1]
