"""The baseline as sentence-transformers' modules encode all-MiniLM-L6-v2: texts stripped, 256
tokens with [CLS] and [SEP], the mean by the attention mask (clamped), unit length."""

import torch
from torch.nn.functional import normalize

from tests.parity.plain import Group, Row

CODE = "sentence-transformers (the library)"
PADDING, BIDIRECTIONAL = "right", False  # an encoder: its own attention is bidirectional
MODEL = "minilm_l6"
GROUPS = [Group(note="on all-MiniLM-L6-v2; a test compares with the library itself")]


def row(tokenizer, text, group):
    return Row(tokenizer(text.strip(), truncation=True, max_length=256)["input_ids"])


def pool(states_BLD, mask_BL, rows):
    mask_BL1 = mask_BL[:, :, None].float()
    means_BD = (states_BLD * mask_BL1).sum(1) / torch.clamp(mask_BL1.sum(1), min=1e-9)
    return normalize(means_BD, p=2, dim=1)
