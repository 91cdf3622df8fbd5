"""The prompts of the E5 recipe for pairs from nothing (Wang et al. 2023, Improving Text Embeddings
with Large Language Models, arXiv 2401.00368, tables 7 to 12): its groups, placeholders, keys and
constraints, in our own words.

1. First a language model lists tasks (short_long, long_short, short_short, long_long), then it
   writes one example of a task. Examples of sts and bitext are written in one step.
2. The lengths of short queries are those of the paper's table (its text says 5 to 10 words where
   the table says at least 10).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from methods.documents.synthesis.languages import draw_language

LIST = (
    "Answer with a Python list of about 20 strings and with nothing else. Each string is one task, "
    "said in one sentence. Explain nothing. Be creative: let the tasks differ."
)
OBJECT = "Answer with the JSON object and with nothing else. Explain nothing. Be creative."
CLEAR = ("clear", "understandable with some effort", "ambiguous")
STUDENT = ("high school", "college", "PhD")


@dataclass(frozen=True)
class Group:
    """A kind of pair. tasks: the prompt that asks for tasks; None for one that has a fixed one.

    example: asks for an example of {task}. choices: placeholder -> values, one drawn for each
    example. keys: of the JSON object: the query, the positive and, where there is one, the
    negative. instruction: of a group whose task is fixed. fewest: words of the query and the
    positive below which they are too short.
    """

    example: str
    keys: tuple[str, ...]
    choices: Mapping[str, Sequence[str | float]]
    tasks: str | None = None
    instruction: str = ""
    fewest: tuple[int, int] = (1, 1)


GROUPS: Mapping[str, Group] = {
    "short_long": Group(
        tasks=(
            "Think of search tasks: somebody has a short request, and a longer document satisfies "
            "it. Two tasks of this kind:\n"
            "- From the keywords of a weather search, find a page with that forecast.\n"
            "- For a parent's question about what children should eat, find the entry of a list "
            "of frequent questions that answers it.\n\n"
        )
        + LIST,
        example=(
            "This is a search task: {task}\n\n"
            "Write one example of it as a JSON object with these keys:\n"
            '- "user_query": a text, what the user of this task searches for;\n'
            '- "positive_document": a text, a document that is relevant to it;\n'
            '- "hard_negative_document": a text, a document that looks relevant but is of less '
            "use.\n\n"
            "Conditions:\n"
            "- The query is {query_type}, has {query_length}, is {clarity}, and its subject "
            "varies.\n"
            "- Each document has at least {num_words} words, and can be understood without the "
            "query. It copies no wording of the query and does not say why it is relevant.\n"
            "- The hard negative has something useful in it, but answers less, or less "
            "completely, than the positive.\n"
            "- All texts are in {language}, and understanding them takes {difficulty} "
            "education.\n\n"
        )
        + OBJECT,
        keys=("user_query", "positive_document", "hard_negative_document"),
        choices={
            "query_type": ("extremely long-tail", "long-tail", "common"),
            "query_length": ("less than 5 words", "5 to 15 words", "at least 10 words"),
            "clarity": CLEAR,
            "num_words": ("50", "100", "200", "300", "400", "500"),
            "difficulty": STUDENT,
        },
        fewest=(1, 10),
    ),
    "long_short": Group(
        tasks=(
            "Think of text classification tasks: for a text of some length one label is right. "
            "Let them come from many fields and purposes.\n\n"
        )
        + LIST,
        example=(
            "This is a text classification task: {task}\n\n"
            "Write one example of it as a JSON object with these keys:\n"
            '- "input_text": a text, what is to be classified;\n'
            '- "label": a text, its right label;\n'
            '- "misleading_label": a text, a wrong label that could be mistaken for the right '
            "one.\n\n"
            "Conditions:\n"
            "- The input text has {num_words} words, is {clarity}, and varies in how it is "
            "expressed.\n"
            "- Neither label is written in the input text; both fit the task.\n"
            "- All texts are in {language}, and understanding the input takes {difficulty} "
            "education.\n\n"
        )
        + OBJECT,
        keys=("input_text", "label", "misleading_label"),
        choices={
            "num_words": ("less than 10", "at least 10", "at least 50")
            + ("at least 100", "at least 200"),
            "clarity": CLEAR,
            "difficulty": STUDENT,
        },
        fewest=(2, 1),
    ),
    "short_short": Group(
        tasks=(
            "Think of matching tasks in which both sides are very short: a phrase, a name or one "
            "sentence. Three tasks of this kind:\n"
            "- From the title of a paper, find the titles of papers that cite it.\n"
            "- From a word, find its definition.\n"
            "- From a person's name, find that person's occupation.\n\n"
        )
        + LIST,
        example=(
            "This is a matching task: {task}\n\n"
            "Write one example of it as a JSON object with these keys:\n"
            '- "input": a text, a short one, from which is searched;\n'
            '- "positive_document": a text, a short one, that matches it in this task.\n\n'
            "Conditions:\n"
            "- Both are very short: a sentence or a phrase at most.\n"
            "- They share few words, so that comparing words is not enough.\n"
            "- Both are in {language}.\n\n"
        )
        + OBJECT,
        keys=("input", "positive_document"),
        choices={},
    ),
    "long_long": Group(
        tasks=(
            "Think of matching tasks in which both sides are long documents. Two tasks of this "
            "kind:\n"
            "- From a text that argues for something, find one that argues against it.\n"
            "- From the proposal of a business, find strategies that compete with it.\n\n"
        )
        + LIST,
        example=(
            "This is a matching task: {task}\n\n"
            "Write one example of it as a JSON object with these keys:\n"
            '- "input": a text, a long document from which is searched;\n'
            '- "positive_document": a text, a long document that matches it in this task.\n\n'
            "Conditions:\n"
            "- Each has at least 300 words.\n"
            "- They share few words, so that comparing words is not enough.\n"
            "- Both are in {language}.\n\n"
        )
        + OBJECT,
        keys=("input", "positive_document"),
        choices={},
        fewest=(10, 10),
    ),
    "sts": Group(
        example=(
            "Write three {unit}s, S1, S2 and S3, as a JSON object with the keys "
            '"S1", "S2" and "S3", each a text.\n\n'
            "Conditions:\n"
            "- On a scale of similarity from 1 (unrelated) to 5 (of one meaning) S1 and S2 have "
            "{high_score}, S1 and S3 have {low_score}.\n"
            "- S2 and S3 each share some words with S1.\n"
            "- All are in {language}, of varied subjects, and understanding them takes "
            "{difficulty} education.\n\n"
        )
        + OBJECT,
        keys=("S1", "S2", "S3"),
        choices={
            "unit": ("sentence", "phrase", "passage"),
            "high_score": ("4", "4.5", "5"),
            "low_score": ("2.5", "3", "3.5"),
            "difficulty": ("elementary school", "high school", "college"),
        },
        instruction="Retrieve semantically similar text.",
        fewest=(2, 2),
    ),
    "bitext": Group(
        example=(
            "Write a sentence S1 in {source}, and two sentences S2 and S3 in {target}, as a JSON "
            'object with the keys "S1", "S2" and "S3", each a text.\n\n'
            "Conditions:\n"
            "- As translations of S1, on a scale from 1 (unrelated) to 5 (exact), S2 has "
            "{high_score} and S3 has {low_score}.\n"
            "- S3 reads well, but is wrong: a key word or a number differs, or something is left "
            "out or added.\n"
            "- S1 is of any subject and length.\n\n"
        )
        + OBJECT,
        keys=("S1", "S2", "S3"),
        choices={"high_score": ("4", "4.5", "5"), "low_score": ("1.5", "2", "2.5")},
        instruction="Retrieve parallel sentences.",
        fewest=(2, 2),
    ),
}


def phrase_example(
    group: Group, draw: random.Random, *, task: str = "", languages: Sequence[str] = ()
) -> str:
    """Return the prompt that asks for one example, its placeholders drawn."""
    values = {name: draw.choice(list(choices)) for name, choices in group.choices.items()}
    source = draw_language(draw, languages)
    if "{target}" in group.example:
        target = draw_language(draw, languages, but=source)
        return group.example.format(source=source, target=target, **values)
    return group.example.format(task=task, language=source, **values)
