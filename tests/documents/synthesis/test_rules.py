"""Pairs by rule: titles, and sentences taken out."""

from dataclasses import replace

from methods.documents.synthesis.rules import find_sentences, make_cloze_pairs, make_title_pairs
from tests.documents.synthesis.conftest import TEXT, make_passage


def test_a_title_is_paired_with_the_first_passage_of_its_section(passages):
    second = replace(passages[0], id="p1b", text="Later it cools down again. " * 4)
    pairs, rejects = make_title_pairs([passages[0], second, *passages[1:]])
    assert [(pair.query, pair.document) for pair in pairs] == [
        ("Boiling water", "p1"),
        ("Wheels and chains", "p2"),
        ("Why bread rises", "p3"),
    ]
    assert pairs[0].positive == TEXT and not rejects


def test_a_title_of_several_sections_or_of_next_to_nothing_makes_no_pair(passages):
    same = [replace(one, section=("Home", "See also")) for one in passages]
    same += [make_passage("p4", "Too short."), make_passage("p5", section=(), file="x.txt")]
    same += [make_passage("p6", section=("***",), file="y.md")]
    pairs, rejects = make_title_pairs(same)
    assert not pairs
    assert [one.reason for one in rejects] == ["title of several sections"] * 3 + [
        "section too short",
        "no word",
    ]


def test_a_sentence_is_taken_out_of_its_passage_and_the_rest_stays(passages):
    pairs, rejects = make_cloze_pairs(passages, seed=1)
    assert len(pairs) == 3 and not rejects
    for pair, passage in zip(pairs, passages, strict=True):
        assert pair.query in passage.text and pair.query not in pair.positive
        assert sorted(f"{pair.query} {pair.positive}".split()) == sorted(passage.text.split())
    alone, _ = make_cloze_pairs(passages[2:], seed=1)
    assert alone == pairs[2:]  # what is drawn follows from the passage alone
    drawn = {make_cloze_pairs(passages[:1], seed=seed)[0][0].query for seed in range(20)}
    assert len(drawn) == 3


def test_code_headings_and_what_stands_twice_are_no_sentences():
    code = "use strict;\n    my $x = shift @ARGV; print $x + 1; exit($x == 3 ? 0 : 1);\n" * 3
    assert not find_sentences(code) and not find_sentences("A short one. And one more.")
    twice = "One sentence that stands here two times over. " * 2 + TEXT
    pairs, rejects = make_cloze_pairs([make_passage(f"p{n}", twice) for n in range(30)])
    assert {one.reason for one in rejects} == {"sentence stands there twice"}
    assert pairs and not any("two times" in pair.query for pair in pairs)


def test_chinese_sentences_are_found_without_blanks():
    text = "水在一百度时沸腾，所以水壶会自动关闭。山上的气压较低，水在较低的温度下沸腾。"
    text += "请在使用前把盖子盖好。"
    found = [text[start:end] for start, end in find_sentences(text)]
    assert len(found) == 3 and found[0].endswith("关闭。")


def test_a_page_of_a_pdf_is_no_title():
    pages = [("Guide", "Boiling water", f"page {number}") for number in (1, 2)]
    paged = [make_passage(f"p{n}", section=s, file="a.pdf") for n, s in enumerate(pages)]
    bare = make_passage("p3", section=("page 3",), file="b.pdf")
    pairs, rejects = make_title_pairs([*paged, bare])
    assert [(pair.query, pair.document) for pair in pairs] == [("Boiling water", "p0")]
    assert not rejects
