"""A folder of documents with questions as headings, and a training on it with the tiny model."""

import pytest

from methods.config.resolve import compose
from methods.documents.reading import read_passages
from methods.documents.tuning.build import build_tuning_job

NAMES = "kettle bicycle bread river castle garden letter winter music engine lamp boat".split()
USES = ("clean", "repair", "sell")
TEXT = (
    "To {0} the {1} you need a cloth, some water and a free evening of the week. Every {1} has a "
    "lid that is opened first, and the {1} is dried in the sun. When you {0} it for the first time "
    "ask a neighbour who knows more about a {1} than you do."
)


@pytest.fixture
def docs(tmp_path):
    return write_docs(tmp_path)


def write_docs(place):
    """Write twelve documents of three questions each."""
    folder = place / "docs"
    folder.mkdir()
    for name in NAMES:
        parts = [f"# About the {name}\n\nThis page of our {name} tells what a {name} is good for."]
        parts += [f"## How do I {use} a {name}?\n\n{TEXT.format(use, name)}" for use in USES]
        (folder / f"{name}.md").write_text("\n\n".join(parts))
    return folder


@pytest.fixture
def passages(docs):
    return read_passages(docs, max_tokens=200).passages


@pytest.fixture
def tune(tmp_path, docs):
    """A training on the documents by overrides; its job."""

    def make(*overrides, docs=docs):
        given = ["experiment=own_documents", "model=tiny", "method=sgpt", "model.dtype=float32"]
        given += [f"docs={docs}", "documents.max_tokens=600", f"runs={tmp_path / 'runs'}"]
        given += ["recipe.steps=2", "run.every=2", "recipe.batch_size=4", "run.seed=1", *overrides]
        config = compose(given, verb="train")
        return build_tuning_job(config, title="own_documents", overrides=given, name="sgpt")

    return make
