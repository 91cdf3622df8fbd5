"""Methods that cannot be trained are refused by name, before anything is loaded."""

import pytest

from methods.config.resolve import compose
from methods.training.config import build_train_job


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("meta_eol", "MetaEOL makes 8 rows of a text, and only methods of one row are trained"),
        ("token_prepending", "TokenPrepending changes states within the pass, which training"),
    ],
)
def test_a_method_that_cannot_be_trained_is_refused_by_name(method, message):
    config = compose(["recipe=prompteol_nli_demo", "model=tiny", f"method={method}"], verb="train")
    with pytest.raises(ValueError, match=message):
        build_train_job(config, title="", overrides=[f"method={method}"])


def test_a_prompt_of_one_row_is_trained():
    words = ["method=pretended_cot", "method.template=something", "method.layer=-1"]
    config = compose(["recipe=prompteol_nli_demo", "model=tiny", *words], verb="train")
    job = build_train_job(config, title="", overrides=words)
    assert job.method.template == "something" and job.method.layer == -1
