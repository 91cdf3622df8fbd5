"""E5-mistral-instruct as e5/utils.py of unilm tokenizes (before it left the EOS to the tokenizer),
pools the last token and normalises, which it does in all tasks but classification."""

from torch.nn.functional import normalize

from tests.parity.plain import Group, Row

CODE = "microsoft/unilm e5 @768a3c8, before 59d0483"
PADDING, BIDIRECTIONAL = "right", False
GROUPS = [
    Group(side="query", instruction="Retrieve semantically similar text."),
    Group(side="document"),
]


def row(tokenizer, text, group):
    if group.side == "document":
        text = f" {text}".strip()  # title and text
    else:
        text = f"Instruct: {group.instruction}\nQuery: " + text
    ids = tokenizer(text, truncation=True, max_length=512 - 1)["input_ids"]
    return Row([*ids, tokenizer.eos_token_id])


def pool(states_BLD, mask_BL, rows):
    if mask_BL[:, -1].sum() == len(rows):  # left padding, or none
        states_BD = states_BLD[:, -1]
    else:
        states_BD = states_BLD[range(len(rows)), mask_BL.sum(dim=1) - 1]
    return normalize(states_BD, p=2, dim=1)
