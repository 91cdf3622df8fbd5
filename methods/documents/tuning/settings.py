"""The settings of a training on documents: `docs` and section `documents` of conf/train.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from methods.documents.reading import MAX_TOKENS
from methods.fields import build, nearest

KINDS = ("titles", "cloze")
HEADINGS = "headings"  # documents.questions: sections whose title is a question


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A row to compare with: a sentence-transformers folder, or an endpoint with its model's name.

    key_env: the environment variable that holds the endpoint's key. name: what the row is called.
    """

    path: str | None = None
    url: str | None = None
    model: str | None = None
    key_env: str = "OPENAI_API_KEY"
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.url is None):
            raise ValueError(
                "documents.reference: an entry is a folder, or {url: URL, model: NAME}, one of both"
            )
        if self.url is not None and not self.model:
            raise ValueError(
                f"documents.reference: {self.url} is an endpoint; name its model: "
                f"documents.reference=[{{url: '{self.url}', model: NAME}}]"
            )
        if self.path is not None and not (Path(self.path).expanduser() / "modules.json").is_file():
            raise ValueError(
                f"documents.reference: {self.path} is no folder that sentence-transformers wrote "
                f"(it has no modules.json); dec2vec export writes one of any method"
            )

    @property
    def title(self) -> str:
        """The row's name."""
        return self.name or (self.model if self.url else Path(str(self.path)).name) or "reference"


@dataclass(frozen=True, kw_only=True)
class DocumentsSettings:
    """What pairs are made of which documents, and what they are scored with.

    docs: a folder of documents, or one. include: of the folder only files whose names are like it.
    max_tokens: of a passage. heldout: the share of documents whose questions are scored; 1: all,
        then nothing but their text without questions (cloze_from=all) or `files` is trained on.
    min_files: with fewer documents, contiguous sections of each are held out instead. seed: of the
        split. pairs: `titles` (a title -> its section), `cloze` (a sentence -> the rest).
    cloze_from: `train`, or `all`: the text of held-out documents is trained on too, without any
        question. files: more training pairs, as `dec2vec synthesize` writes them.
    questions: human questions: a file, or `headings`, sections whose title is a question.
    validation: the share of training sections whose questions choose the best checkpoint.
    """

    docs: str
    include: str | None = None
    max_tokens: int = MAX_TOKENS
    heldout: float = 0.25
    min_files: int = 10
    seed: int = 0
    pairs: Sequence[str] = KINDS
    cloze_from: Literal["train", "all"] = "train"
    files: Sequence[str] = ()
    questions: str | None = None
    validation: float = 0.15
    reference: Sequence[Reference] = ()

    def __post_init__(self) -> None:
        for one in self.pairs:
            if one not in KINDS:
                raise ValueError(
                    f"documents.pairs: {one!r} is unknown; valid: {', '.join(KINDS)}"
                    f"{nearest(one, KINDS)}"
                )
        if not 0 < self.heldout <= 1:
            raise ValueError(f"documents.heldout is {self.heldout}; it is above 0, and 1 or less")
        if not 0 < self.validation < 1:
            raise ValueError(f"documents.validation is {self.validation}; it is between 0 and 1")
        for key in ("min_files", "seed"):
            if getattr(self, key) < 0:
                raise ValueError(f"documents.{key} is {getattr(self, key)}; it is 0 or more")
        self._check_sources()
        names = [reference.title for reference in self.reference]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(
                f"documents.reference: two rows would be called {twice}; give one a name: "
                f"{{path: DIR, name: NAME}}"
            )

    def _check_sources(self) -> None:
        """Raise ValueError where nothing is left to train on."""
        if self.cloze_from == "all" and "cloze" not in self.pairs:
            raise ValueError(
                "documents.cloze_from=all without cloze pairs; add cloze to documents.pairs"
            )
        if not self.pairs and not self.files:
            raise ValueError(
                "documents.pairs is empty and documents.files too, so there is nothing to train "
                "on; give documents.pairs=[titles,cloze]"
            )
        if self.heldout == 1 and self.cloze_from == "train" and not self.files:
            raise ValueError(
                "documents.heldout=1 leaves no document to train on; give "
                "documents.cloze_from=all (their text, without questions), or pairs of other "
                "documents: documents.files=[FILE]"
            )
        if self.questions is not None and self.questions != HEADINGS:
            if not Path(self.questions).expanduser().is_file():
                raise ValueError(
                    f"documents.questions={self.questions} is no file; give a file with columns "
                    f"question and file, section or answer, or {HEADINGS}"
                )
        for file in self.files:
            if not Path(file).expanduser().is_file():
                raise ValueError(f"documents.files: there is no {file}")


def build_settings(docs: str, values: Mapping[str, Any]) -> DocumentsSettings:
    """Return checked settings of `docs` and the section `documents`. Raises ValueError."""
    given = dict(values)
    references = given.pop("reference", None) or ()
    if isinstance(references, str | Mapping):
        raise ValueError(
            "documents.reference is one value where a list is meant; write "
            "documents.reference=[FOLDER]"
        )
    built = [_build_reference(one) for one in references]
    for key in ("files", "pairs"):
        if key in given and given[key] is None:
            given[key] = ()
    return build(DocumentsSettings, {**given, "docs": docs, "reference": built}, key="documents")


def _build_reference(value: Any) -> Reference:
    if isinstance(value, str):
        is_url = value.startswith(("http://", "https://"))
        value = {"url": value} if is_url else {"path": value}
    if not isinstance(value, Mapping):
        raise ValueError(
            f"documents.reference: {value!r} is neither a folder nor {{url: URL, model: NAME}}"
        )
    return build(Reference, dict(value), key="documents.reference")
