"""Compare our token ids and vectors with a plain re-implementation of each method's official code.

The re-implementations stand in official/, one file a method, written from what the official code
does and not copied from it; each names the code and its commit. They run on plain transformers in
padded batches. Ours runs as always: packed, with its own kernels.
"""

import dataclasses
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

from methods import load_encoder
from methods.backbone import loader
from methods.encoding.encoder import Encoder
from tests.parity.plain import Group, encode

OFFICIAL = Path(__file__).parent / "official"
HEADER = (
    "| method | official code | texts | ids equal | smallest cosine | largest difference | note |"
)


@dataclass(frozen=True)
class Result:
    """One row of the table. difference: the largest of any dimension, over the vector's largest."""

    method: str
    code: str
    texts: int
    equal: int
    cosine: float
    difference: float
    note: str

    def line(self) -> str:
        """Return the row as Markdown."""
        numbers = f"{self.texts} | {self.equal} of {self.texts} | {self.cosine:.7f}"
        numbers += f" | {self.difference:.0e}"
        return f"| {self.method} | {self.code} | {numbers} | {self.note} |"


def methods() -> list[str]:
    """Return the methods that have a re-implementation."""
    return sorted(file.stem for file in OFFICIAL.glob("*.py"))


def official(method: str) -> ModuleType:
    """Return the re-implementation of a method's official code."""
    return importlib.import_module(f"tests.parity.official.{method}")


def groups() -> list[tuple[str, Group]]:
    """Return every way in which methods are compared."""
    return [(method, group) for method in methods() for group in official(method).GROUPS]


def row_name(method: str, group: Group) -> str:
    """Return what a group is called in the table."""
    return f"`{method}`" + (f" ({group.about})" if group.about else "")


def compare(method: str, group: Group, texts: Sequence[str], *, model: str) -> Result:
    """Encode texts both ways. model: a name in conf/model, where a method brings none."""
    module = official(method)
    model = getattr(module, "MODEL", model)
    plain, theirs, tokenizer = _loaded(method, model, group.new_tokens)
    ours = plain.backbone
    encoder = Encoder(ours, dataclasses.replace(plain.method, **group.fields))
    taken = [text for text in texts if group.takes(text)]
    asked: Any = {"prompt_type": group.side, "instruction": group.instruction}
    inputs = encoder.method.prepare_inputs(taken, tokenizer=ours.tokenizer, **asked)
    rows = [module.row(tokenizer, text, group) for text in taken]
    found = torch.from_numpy(encoder.encode(taken, **asked))
    how = {"padding": module.PADDING, "bidirectional": module.BIDIRECTIONAL}
    expected = encode(theirs, rows, module.pool, pad=tokenizer.pad_token_id, **how)
    cosines = torch.nn.functional.cosine_similarity(found.double(), expected.double())
    apart = (found - expected).abs().amax(1) / expected.abs().amax(1)
    return Result(
        method=row_name(method, group),
        code=module.CODE,
        texts=len(taken),
        equal=sum(a == b.ids for a, b in zip(inputs.ids, rows, strict=True)),
        cosine=float(cosines.min()),
        difference=float(apart.max()),
        note=group.note,
    )


def _loaded(method: str, model: str, new_tokens: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Our encoder, and the same weights and tokenizer as plain transformers loads them."""
    if new_tokens:
        loader._load.cache_clear()  # a model that is given rows of its own is no one else's
    ours = load_encoder(method, model=model, dtype="float32", cache=None)
    theirs, tokenizer = _plain(ours.model.config._name_or_path, new_tokens)
    if new_tokens:
        loader._load.cache_clear()
        _add_rows(ours.model, ours.backbone.tokenizer, new_tokens)
    return ours, theirs, tokenizer


@lru_cache(maxsize=1)
def _plain(folder: str, new_tokens: tuple[str, ...]) -> tuple[Any, Any]:
    theirs = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if new_tokens:
        _add_rows(theirs, tokenizer, new_tokens)
    return theirs.eval(), tokenizer


def _add_rows(model: Any, tokenizer: Any, tokens: Sequence[str]) -> None:
    """Add tokens to a vocabulary, with random rows that are the same each time."""
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = model.get_input_embeddings().weight.data[-len(tokens) :]
    rows.copy_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)) / 10)
