"""The comparison behind the table of parity, on a few texts: it runs, and it can find a fault."""

import pytest

from tests.parity.compare import compare, groups, official
from tests.parity.texts import texts

TEXTS = texts()[:6]
NAME = "prompteol"


@pytest.fixture
def group(smollm2):
    smollm2(NAME)  # skips where the model cannot be fetched
    return next(group for method, group in groups() if method == NAME)


def test_a_method_is_compared_with_its_official_code(group):
    found = compare(NAME, group, TEXTS, model="smollm2_135m")
    assert found.texts == found.equal == len(TEXTS)
    assert found.cosine > 0.99999 and found.difference < 1e-3


def test_another_template_is_found(group, monkeypatch):
    monkeypatch.setattr(official(NAME), "TEMPLATE", 'In_one_word:_"*sent_0*"_is:"')
    found = compare(NAME, group, TEXTS, model="smollm2_135m")
    assert found.equal == 0 and found.cosine < 0.999
