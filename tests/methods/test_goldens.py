"""What each method reads, spelt out from the official codes' rules; ids and pooled positions.

Every method's texts are in expected/METHOD.yaml; here is what takes more than a text and a row.
"""

import pytest

from methods.config.resolve import list_choices
from tests.methods.readings import FOLDER, Expected, every_read, expected, shown


def test_every_method_says_what_is_expected_of_it_and_nothing_else_does():
    assert {name: type(expected(name)) for name in list_choices("method")} == {
        file.stem: Expected for file in FOLDER.glob("*.yaml")
    }


def test_a_method_without_a_file_is_told_which_to_write():
    with pytest.raises(AssertionError, match=r"write tests/methods/expected/mine.yaml; copy echo"):
        expected("mine")


@pytest.mark.parametrize(("name", "read"), every_read())
def test_a_method_reads_and_pools_what_its_official_code_does(name, read):
    assert shown(name, read) == read.expected
