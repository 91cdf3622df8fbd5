"""The benchmark's own arithmetic; `make bench` runs the rest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from measure import format_ratio, make_passages, make_sentences, time_rounds


def test_texts_are_as_many_as_asked_and_differ():
    for number in (500, 5000):
        texts = make_sentences(number)
        assert len(texts) == len(set(texts)) == number
    assert len(set(make_passages(64))) == 64
    assert all(60 <= len(text.split()) <= 131 for text in make_passages(64))


def test_rounds_turn_the_order_and_ratios_are_taken_within_a_round():
    ran = []
    took = time_rounds({name: lambda name=name: ran.append(name) for name in "abc"}, rounds=3)
    assert "".join(ran) == "abc" + "abc" + "cba" + "abc"
    assert {len(seconds) for seconds in took.values()} == {3}
    assert format_ratio([2, 8, 9], [1, 2, 3]) == "3.00x (2.00-4.00)"
    assert format_ratio([2000, 3000], [1, 1]) == "2,500x (2,000-3,000)"
