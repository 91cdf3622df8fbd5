"""The E5 recipe: its prompts, and what is made of answers."""

import json
from collections import Counter

import pytest

from methods.documents.synthesis.e5 import (
    make_example_prompts,
    make_task_prompts,
    read_example,
    read_tasks,
    take_examples,
    take_tasks,
)
from methods.documents.synthesis.e5_prompts import GROUPS
from methods.documents.synthesis.generators import Answer

TASKS = {name: ["Find the recipe of a dish", "Find the law on a matter"] for name in GROUPS}
LONG = "An old castle stands on a hill above the river, and tourists climb up every summer day."


def test_every_placeholder_of_the_paper_is_drawn_and_none_is_left():
    prompts = make_example_prompts(GROUPS, 200, TASKS)
    assert len(prompts) == 200 * len(GROUPS)
    for name, group in GROUPS.items():
        texts = [prompt.text for id, (prompt, _) in prompts.items() if f"/{name}/" in id]
        assert not any("{" in text.replace("{}", "") for text in texts)
        for values in group.choices.values():
            for value in values:
                assert any(str(value) in text for text in texts), (name, value)
        assert all(f'"{key}"' in texts[0] for key in group.keys)
    languages = Counter(word for p, _ in prompts.values() for word in ["English", "Swahili"]
                        if word in p.text)  # fmt: skip
    assert languages["English"] > languages["Swahili"] > 0


def test_what_an_example_draws_follows_from_its_id_and_the_seed():
    few, many = (make_example_prompts(["sts", "short_long"], n, TASKS, seed=3) for n in (2, 9))
    assert few.items() <= many.items()
    other = make_example_prompts(["short_long"], 2, TASKS, seed=4)
    assert other["example/short_long/0"] != many["example/short_long/0"]
    assert len({prompt.text for prompt, _ in many.values()}) > 12


def test_languages_that_are_given_are_the_only_ones():
    prompts = make_example_prompts(GROUPS, 20, TASKS, languages=["Danish", "Latin"])
    for id, (prompt, _) in prompts.items():
        assert ("Danish" in prompt.text) + ("Latin" in prompt.text) == 1 + ("bitext" in id)


@pytest.mark.parametrize(
    "text",
    [
        '["Find the law", \'Find a good recipe\', "Find the law"]',
        "Sure! ```python\n['Find the law', 'Find a good recipe',\n```",
        '["Find the law", "Find a good recipe", "Fi',
        "1. Find the law\n2. Find a good recipe",
        "- Find the law\n* Find a good recipe\n",
    ],
)
def test_lists_of_tasks_are_read_however_they_are_written(text):
    assert [task for task in read_tasks(text) if task != "Fi"][:2] == [
        "Find the law",
        "Find a good recipe",
    ]


def test_groups_without_a_task_ask_for_no_example():
    asked = make_task_prompts(GROUPS, 2)
    assert Counter(one.id.split("/")[1] for one in asked) == dict.fromkeys(
        ["short_long", "long_short", "short_short", "long_long"], 2
    )
    answers = [
        Answer(one.id, "[]" if "short_short" in one.id else "['Find it at once']") for one in asked
    ]
    tasks, rejects = take_tasks(answers)
    assert tasks["short_short"] == [] and tasks["long_long"] == ["Find it at once"]
    assert [one.reason for one in rejects] == ["no list of tasks"] * 2
    made = make_example_prompts(GROUPS, 3, tasks)
    assert Counter(id.split("/")[1] for id in made)["short_short"] == 0
    assert made["example/sts/0"][1] == "Retrieve semantically similar text."


def example(query="a castle near here", positive=LONG, negative=LONG[::-1], **more):
    keys = GROUPS["short_long"].keys
    return json.dumps({**dict(zip(keys, (query, positive, negative), strict=True)), **more})


@pytest.mark.parametrize(
    ("text", "mended", "reason"),
    [
        (example(), False, None),
        (example(note="x"), False, None),
        (f"Here it is:\n```json\n{example()}\n```", True, None),
        (example().replace('"}', ""), True, None),
        ("I cannot do that.", True, "broken JSON"),
        ('{"user_query": "a castle"}', False, "a key is missing"),
        (example(negative=""), False, "no text under a key"),
        (example(positive=["a", "b"]), False, "no text under a key"),
        (example(positive="A castle."), False, "too short"),
        (example(negative=LONG + "!"), False, "two texts are the same"),
        (example(query=LONG[:60]), False, "query copied into the positive"),
        (example(query="what the user of this task searches for"), False, "copied from the prompt"),
        ("{" * 100_000, True, "broken JSON"),
    ],
)
def test_json_is_mended_or_dropped_and_texts_are_checked(text, mended, reason):
    ((prompt, _),) = make_example_prompts(["short_long"], 1, TASKS).values()
    found = read_example(text, GROUPS["short_long"], prompt.text)
    assert found[2] == reason and found[1] == mended
    if reason is None:
        assert found[0][:2] == ["a castle near here", LONG]


def test_a_label_does_not_stand_in_its_text():
    group = GROUPS["long_short"]
    text = json.dumps({"input_text": "what a joy it was", "label": "joy", "misleading_label": "an"})
    assert read_example(text, group, "")[2] == "label in the text"


def test_examples_become_pairs_with_their_task_and_repeated_queries_are_dropped():
    prompts = make_example_prompts(["short_long"], 4, TASKS)
    texts = [example(), example(query="A castle, near here!"), "nothing", f"so: {example('other')}"]
    answers = {id: Answer(id, text) for id, text in zip(prompts, texts, strict=True)}
    pairs, rejects, mended = take_examples(prompts, answers)
    assert [pair.query for pair in pairs] == ["a castle near here", "other"] and mended == 1
    assert pairs[0].instruction in TASKS["short_long"]
    assert pairs[0].negatives == (LONG[::-1],)
    assert [one.reason for one in rejects] == ["duplicate", "broken JSON"]
