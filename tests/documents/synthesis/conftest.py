"""Passages, and generators that answer what they are told to."""

import pytest

from methods.documents.passage import Passage
from methods.documents.synthesis.generators import Answer

TEXT = (
    "The kettle boils water in three minutes. Its heater is made of steel, which never rusts in "
    "hard water. Fill the kettle up to the upper mark, and close the lid before it is switched on."
)


def make_passage(id, text=TEXT, section=("Kitchen", "Boiling water"), file="kettle.md"):
    return Passage(id, text, file, section, 0, len(text))


class Scripted:
    """Answers each prompt by a function of it, one at a time; counts what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def describe(self):
        return {"model": "scripted"}

    def describe_run(self):
        return {}

    def write(self, prompts, done=()):
        for prompt in prompts:
            if prompt.id not in done:
                self.asked.append(prompt.id)
                yield [Answer(prompt.id, prompt.opening + self.answer(prompt), 3, 2, 0.1)]


@pytest.fixture
def passages():
    texts = {
        "p1": TEXT,
        "p2": "A bicycle has two wheels, and a chain turns the one behind. Oil the chain monthly, "
        "or it will rust in the rain and break when it is needed most. Brakes wear out too.",
        "p3": "Bread rises because yeast makes gas in the dough. A warm room makes it quicker, and "
        "salt makes it slower. Bake the loaf in a hot oven until its crust sounds hollow.",
    }
    titles = {"p1": "Boiling water", "p2": "Wheels and chains", "p3": "Why bread rises"}
    return [make_passage(i, t, ("Home", titles[i]), f"{i}.md") for i, t in texts.items()]
