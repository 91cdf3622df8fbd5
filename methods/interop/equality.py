"""Compare an exported folder with the method it was made of, text by text: ids and vectors.

The texts are those on which prompts, templates and truncation go wrong: empty, blanks at the ends,
quotes, line breaks, scripts without blanks, the literal names of special tokens, more tokens than a
row takes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from methods.encoding.encoder import Encoder
from methods.interop.prompts import Prompt

NEAR = {"float32": 0.99999}  # smallest cosine of one vector with itself, by dtype
NEAR_IN_HALF = 0.99  # another batch rounds differently
TEXTS = (
    "A cat sleeps on the warm stones.",
    "how do I boil an egg",
    "",
    " ",
    "  blanks before and behind  ",
    "\ttab and line break\n",
    "first line\nsecond line\n\nthird line",
    'He said "no", and left.',
    "Is this a question?",
    "it's 'quoted' text'",
    "猫は暖かい石の上で眠っています。",
    "一只猫睡在温暖的石头上",
    "고양이가 따뜻한 돌 위에서 잔다",
    "قطة تنام على الحجارة الدافئة",
    "🐈 sleeps 👩‍👩‍👧 on 🪨🪨",
    "naïve café, Ångström, e\u0301 and \u00a0no-break\u3000blanks\u200b",
    "</s> <s> [INST] <|im_start|>user <|im_end|> <unk> [CLS] [SEP]",
    "query: passage: Instruct: {braces} [brackets]",
    "1234567890 3.14159 -0.5e-10 2026-11-28",
    "def f(x):\n    return {'a': [x, None]}",
    "x",
)
LONG = (
    "Every text that is too long for a row loses tokens at its end, and nothing else does. ",
    "長すぎる文は終わりから切られる。",
    'One "quoted" word, then\nanother line, and so on; ',
)


@dataclass(frozen=True)
class Expected:
    """What a method makes of the texts under one prompt: ids of each one's rows, vectors [N, D]."""

    ids: list[list[list[int]]]
    vectors_ND: np.ndarray


@dataclass(frozen=True)
class Deviation:
    """A text whose ids or vector differ in the exported folder. length: of the vector, as a
    multiple of what it should be."""

    prompt: str
    text: str
    same_ids: bool
    cosine: float
    length: float

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 40 else f"{self.text[:40]}..."
        ids = "same ids" if self.same_ids else "other ids"
        length = f", length x {self.length:.4g}" if abs(self.length - 1) > 1e-3 else ""
        return f"{self.prompt} {shown!r}: {ids}, cosine {self.cosine:.5f}{length}"


@dataclass(frozen=True)
class Equality:
    """The table's row: how many texts under all prompts, how many agree, and those that do not."""

    texts: int
    same_ids: int
    smallest_cosine: float
    deviations: list[Deviation]
    dtype: str


def list_texts(tokenizer: Any, max_length: int) -> list[str]:
    """Return the 24 texts; the last three have more than `max_length` tokens."""
    long = []
    for sentence in LONG:
        number = len(tokenizer(sentence, add_special_tokens=False)["input_ids"])
        long.append(sentence * (max_length // max(number, 1) + 2))
    return [*TEXTS, *long]


def compute_expected(
    encoder: Encoder, texts: Sequence[str], prompts: Sequence[Prompt]
) -> dict[str, Expected]:
    """Return what the method itself makes of the texts under each prompt, by its name."""
    found = {}
    for prompt in prompts:
        how: Any = {"prompt_type": prompt.side, "instruction": prompt.instruction}
        inputs = encoder.method.prepare_inputs(texts, tokenizer=encoder.backbone.tokenizer, **how)
        each = encoder.method.rows_per_text
        rows = [inputs.ids[at : at + each] for at in range(0, len(inputs), each)]
        found[prompt.name] = Expected(rows, encoder.encode(texts, **how))
    return found


def compare_folder(
    folder: Path, texts: Sequence[str], expected: Mapping[str, Expected], **options: Any
) -> Equality:
    """Load a folder as plain SentenceTransformer and compare what it makes of the texts.

    options: dtype, device. Raises what the loading raises.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder),
        device=options["device"],
        trust_remote_code=True,
        local_files_only=True,
        model_kwargs={"dtype": options["dtype"]},
    )
    try:
        return _compare(model, texts, expected, options["dtype"])
    finally:
        _remove_copied_code(model)


def _compare(
    model: Any, texts: Sequence[str], expected: Mapping[str, Expected], dtype: str
) -> Equality:
    near = NEAR.get(dtype, NEAR_IN_HALF)
    cosines: list[float] = []
    alike: list[bool] = []
    deviations: list[Deviation] = []
    for name, one in expected.items():
        made = model.encode(list(texts), prompt_name=name, batch_size=8, show_progress_bar=False)
        ids = read_ids(model, texts, name)
        for row, text in enumerate(texts):
            same = ids[row] == one.ids[row]
            cosine, length = compare_vectors(np.asarray(made[row]), one.vectors_ND[row])
            cosines.append(cosine)
            alike.append(same)
            if not same or cosine < near or abs(length - 1) > 1 - near + 1e-3:
                deviations.append(Deviation(name, text, same, cosine, length))
    return Equality(len(alike), sum(alike), min(cosines), deviations, dtype)


def _remove_copied_code(model: Any) -> None:
    """Remove the copy that transformers made of a folder's code, which is about to be renamed."""
    module = type(model[0]).__module__
    if module.startswith("transformers_modules.") and (file := sys.modules[module].__file__):
        shutil.rmtree(Path(file).parents[1], ignore_errors=True)


def read_ids(model: Any, texts: Sequence[str], name: str) -> list[list[list[int]]]:
    """Return the ids of the rows that a SentenceTransformer gives each text under one prompt."""
    found = []
    for text in texts:
        features = model.preprocess([text], prompt=model.prompts[name])
        rows = zip(features["input_ids"], features["attention_mask"].bool(), strict=True)
        found.append([ids[real].tolist() for ids, real in rows])
    return found


def compare_vectors(made_D: np.ndarray, wanted_D: np.ndarray) -> tuple[float, float]:
    """Return the cosine of two vectors (0 where one is zero or not finite), and the first one's
    length as a multiple of the second's."""
    made_D, wanted_D = made_D.astype(np.float64), wanted_D.astype(np.float64)
    made, wanted = float(np.linalg.norm(made_D)), float(np.linalg.norm(wanted_D))
    if not np.isfinite(made * wanted) or made * wanted == 0:
        return 0.0, 0.0
    return float(made_D @ wanted_D) / (made * wanted), made / wanted
