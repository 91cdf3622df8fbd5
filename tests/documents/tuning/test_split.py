"""Documents are split whole, or in contiguous sections; no passage is on both sides."""

import pytest

from methods.documents.reading import read_passages
from methods.documents.tuning.split import split_passages


def list_ids(passages):
    return [passage.id for passage in passages]


def test_documents_are_split_whole_and_by_the_seed(passages):
    split = split_passages(passages, heldout=0.25)
    assert split.by == "documents" and len({p.file for p in split.heldout}) == 3
    assert not {p.file for p in split.heldout} & {p.file for p in split.training}
    assert sorted(list_ids(split.training + split.heldout)) == sorted(list_ids(passages))
    assert split_passages(passages, heldout=0.25) == split
    assert split_passages(passages, heldout=0.25, seed=1) != split


def test_of_few_documents_contiguous_sections_are_held_out(passages):
    split = split_passages(passages, heldout=0.25, min_files=20)
    assert split.by == "sections" and not set(list_ids(split.training)) & set(
        list_ids(split.heldout)
    )
    for file in {passage.file for passage in passages}:
        own = [passage in split.heldout for passage in passages if passage.file == file]
        assert sum(own) == 1
    wide = split_passages(passages, heldout=0.5, min_files=20)
    for file in {passage.file for passage in passages}:
        own = [passage in wide.heldout for passage in passages if passage.file == file]
        assert sum(own) == 2 and str(own).count("True, True") == 1  # they lie together


def test_a_text_without_headings_is_split_by_its_passages(tmp_path):
    words = [f"word{number}" for number in range(400)]
    (tmp_path / "plain.txt").write_text(". ".join(words))
    passages = read_passages(tmp_path, max_tokens=100).passages
    split = split_passages(passages, heldout=0.3)
    places = [passages.index(passage) for passage in split.heldout]
    assert len(places) > 1 and places == list(range(places[0], places[0] + len(places)))


def test_all_may_be_held_out_and_one_passage_cannot_be_split(passages):
    split = split_passages(passages, heldout=1)
    assert split.by == "nothing" and not split.training and len(split.heldout) == len(passages)
    with pytest.raises(ValueError, match="1 document without sections .*documents.heldout=1"):
        split_passages(passages[:1], heldout=0.25)
