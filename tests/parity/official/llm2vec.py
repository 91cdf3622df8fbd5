"""LLM2Vec as its package's `encode` prepares, tokenizes and pools with pooling_mode=mean.

The package itself needs transformers 4.43 to 4.44; its bidirectional classes are a mask of zeros.
"""

import torch

from tests.parity.plain import Group, Row

CODE = "McGill-NLP/llm2vec @312adcf"
PADDING, BIDIRECTIONAL = "left", True
SEPARATOR = "!@#$%^&*()"
MAX_LENGTH, DOC_MAX_LENGTH = 512, 400
EMPTY = "the empty text is left out: the code averages its padding; attention by an explicit mask"
GROUPS = [
    Group(side="query", instruction="Retrieve semantically similar text:", takes=bool, note=EMPTY),
    Group(side="document", takes=bool, note=EMPTY),
]


def row(tokenizer, text, group):
    text = shortened(tokenizer, text)
    joined = f"{SEPARATOR}{text}"
    if group.instruction:
        joined = f"{group.instruction.strip()} {SEPARATOR}{text}"
    pieces = joined.split(SEPARATOR)
    ids = tokenizer("".join(pieces), truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return Row(ids, own=len(tokenizer(pieces[1], add_special_tokens=False)["input_ids"]))


def shortened(tokenizer, text):
    def length(text):
        cut = {"truncation": True, "max_length": MAX_LENGTH}
        return len(tokenizer(text, add_special_tokens=False, **cut)["input_ids"])

    while (tokens := length(text)) > DOC_MAX_LENGTH:
        words = text.split()
        text = " ".join(words[: int(len(words) * DOC_MAX_LENGTH / tokens)])
    return text


def pool(states_BLD, mask_BL, rows):
    means = [states[-one.own :].mean(dim=0) for states, one in zip(states_BLD, rows, strict=True)]
    return torch.stack(means)
