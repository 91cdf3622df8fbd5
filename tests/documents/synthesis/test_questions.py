"""Questions: how they are asked for, cleaned and rejected."""

import pytest

from methods.documents.synthesis.generators import Answer
from methods.documents.synthesis.questions import (
    PROMPTS,
    clean_question,
    find_reject,
    make_question_prompts,
    take_questions,
)
from tests.documents.synthesis.conftest import TEXT


def test_the_passage_comes_first_and_the_question_last(passages):
    prompts = make_question_prompts(passages)
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 3 * len(PROMPTS)
    assert all(prompt.text.startswith(TEXT) for prompt in prompts[:4])
    assert prompts[0].text.endswith("\nQuestion:") and prompts[0].opening == ""
    assert [prompt.opening for prompt in prompts[1:4]] == ["What", "How", "Why"]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (" Question: What is it? And why?\nAnswer: x", "What is it?"),
        ('1. "How does it boil?"', "How does it boil?"),
        ("**Question 2:** Why is it made of steel?**", "Why is it made of steel?"),
        ("It is a kettle.\nIs it?", "It is a kettle."),
        ("水壶是什么做的？答案", "水壶是什么做的？"),
        ("  \n", ""),
    ],
)
def test_the_first_question_is_taken_without_its_label(text, question):
    assert clean_question(text) == question


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", "empty"),
        ("The kettle boils water", "no question mark"),
        ("Why steel?", "too short"),
        ("The kettle boils water in three minutes?", "copied"),
        ("What is the capital of France called?", "off topic"),
        ("What is the main purpose of this?", "off topic"),  # of any text
        ("What does the text above say about the kettle?", "about the text itself"),
        ("Why does the heater of the kettle never rust?", None),
        ("Does the boiling of water take minutes?", None),
    ],
)
def test_unusable_questions_are_rejected_with_their_reason(question, reason):
    assert find_reject(question, TEXT) == reason


def test_of_questions_that_are_alike_the_first_stays(passages):
    asked = {
        "question/plain/p1": "What is the heater of the kettle made of?",
        "question/what/p1": "What is the heater, of the kettle, made of?",
        "question/plain/p2": "How many wheels does a bicycle have?",
        "question/how/p2": "How",
    }
    answers = {id: Answer(id, text) for id, text in asked.items()}
    answers["question/why/p2"] = Answer("question/why/p2", "", error="503: busy")
    pairs, rejects = take_questions(passages, answers)
    assert [(pair.id, pair.prompt, pair.document) for pair in pairs] == [
        ("question/plain/p1", "plain", "p1"),
        ("question/plain/p2", "plain", "p2"),
    ]
    assert [(one.group, one.reason) for one in rejects] == [
        ("what", "duplicate"),
        ("how", "no question mark"),
        ("why", "no answer"),
    ]
