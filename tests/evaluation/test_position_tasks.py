"""Tasks that measure where in a text a vector comes from, against vectors whose truth is known."""

import mteb
import numpy as np
import pytest

from methods.evaluation import position_tasks
from methods.evaluation.position_tasks import (
    POSITION_TASKS,
    PositionInsertion80,
    PositionRemoval80,
    measure_shares,
    sum_early,
)

POSTS = [" ".join(f"w{text}x{place}" for place in range(240)) for text in range(4)]


@pytest.fixture(autouse=True)
def posts(monkeypatch):
    monkeypatch.setattr(position_tasks, "draw_posts", lambda: POSTS)


class WeighedWords:
    """An encoder whose vector is a sum over a text's words, each weighed by its place."""

    def __init__(self, weigh):
        self.weigh = weigh
        self.mteb_model_meta = mteb.get_model_meta("mteb/baseline-random-encoder")

    def encode(self, inputs, **kwargs):
        texts = [text for batch in inputs for text in batch["text"]]
        return np.stack([self.encode_text(text) for text in texts])

    def encode_text(self, text):
        words = text.split()
        vector = np.zeros(4000)
        for place, word in enumerate(words):
            own = np.random.default_rng(abs(hash(word)) % 2**32)
            vector[own.integers(4000)] += self.weigh(place / (len(words) - 1))
        return vector

    def similarity(self, first, second):
        raise NotImplementedError

    similarity_pairwise = similarity


def score(task, weigh):
    result = mteb.evaluate(
        WeighedWords(weigh), task, cache=None, co2_tracker=False, show_progress_bar=False
    )
    (scores,) = result.task_results[0].scores["test"]
    return scores


@pytest.mark.parametrize("name", POSITION_TASKS)
def test_shares_follow_the_weights_of_a_texts_words(name):
    task = POSITION_TASKS[name]()
    even = score(task, lambda place: 1.0)
    assert even["main_score"] == pytest.approx(0.5, abs=0.06)
    early = score(POSITION_TASKS[name](), lambda place: 1.0 if place < 0.5 else 0.1)
    late = score(POSITION_TASKS[name](), lambda place: 0.1 if place < 0.5 else 1.0)
    assert early["main_score"] > 0.6 > 0.4 > late["main_score"]
    shares = [early[f"share_{place}"] for place in range(task.places)]
    assert sum(shares) == pytest.approx(1) and shares[0] > shares[-1]
    assert 0 < early["main_score_error"] < 0.1


def test_an_edit_changes_its_own_place_alone():
    for task, words in ((PositionRemoval80(), 64), (PositionInsertion80(), 96)):
        task.load_data()
        data = task.dataset["default"]["test"]
        assert len(data) == len(POSTS) * task.places
        own = [text.split() for text in data["sentence1"][: task.places]]
        edited = [text.split() for text in data["sentence2"][: task.places]]
        assert {len(text) for text in own} == {80} and {len(text) for text in edited} == {words}
        changed = [set(a) ^ set(b) for a, b in zip(own, edited, strict=True)]
        assert all(len(one) == 16 for one in changed)
        kept = [[word for word in text if word in own[0]] for text in edited]
        assert all(text == [w for w in own[0] if w in set(text)] for text in kept)
    removed = PositionRemoval80()
    removed.load_data()
    pairs = zip(
        *(removed.dataset["default"]["test"][f"sentence{n}"][:5] for n in (1, 2)), strict=True
    )
    gone = [set(a.split()) - set(b.split()) for a, b in pairs]
    assert set().union(*gone) == set(POSTS[0].split()[:80])  # every word is removed once


def test_shares_by_hand():
    before = np.array([[1.0, 0], [1, 0], [1, 0]])
    after = np.array([[0.0, 1], [2, 0], [1, 1]])
    (shares,) = measure_shares(before, after, 3)
    angle = 1 - 0.5**0.5
    assert np.allclose(shares, np.array([1, 0, angle]) / (1 + angle))
    assert np.allclose(sum_early(np.array([[0.5, 0.2, 0.3]])), 0.6)
    assert np.allclose(sum_early(np.array([[0.5, 0.2, 0.2, 0.1]])), 0.7)
    assert np.allclose(measure_shares(before, before, 3), 1 / 3)
