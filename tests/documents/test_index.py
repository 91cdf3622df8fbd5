"""An index of documents: what a second build reads and encodes, what is found, what is refused."""

import os
import re
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from methods.documents import approximate, build, index, merging, relevance
from methods.documents.build import build_index
from methods.documents.exact import find_nearest
from methods.documents.index import open_index
from methods.documents.relevance import choose_sentence, choose_threshold
from methods.documents.search import search
from methods.documents.vectors import encode_passages, encode_questions
from methods.encoding.post import NO_POST
from methods.sentence_encoder import SentenceEncoder

DOCUMENTS = {
    "kitchen.md": "# Eggs\nBoil an egg for six minutes. Salt the water well first.\n\n"
    "# Bread\nKnead the dough for ten minutes. Let it rise overnight in a bowl.\n",
    "garden.txt": "Prune apple trees in winter. The cut should be clean and slanted.",
    "deep/town.rst": "Town\n====\n\nThe harbour lies east of the market. Ships leave at dawn.\n",
}
UNRELATED = "Which planet has rings?\nWho wrote that opera?\nHow fast is light?\nWhat is jazz?\n"


class WordEncoder:
    """An encoder whose vectors count words, with a text for every call and no model."""

    def __init__(self, name="words"):
        self.method, self.post = SentenceEncoder(), NO_POST
        self.backbone = SimpleNamespace(identity={"name": name}, tokenizer=self.tokenize)
        self.encoded: list[str] = []
        self.fails_at = None

    def tokenize(self, text, add_special_tokens):
        return {"input_ids": text.split()}

    def encode(self, texts, *, prompt_type=None, instruction=None):
        if prompt_type == "document":
            self.encoded += texts
            if self.fails_at is not None and len(self.encoded) > self.fails_at:
                raise KeyboardInterrupt
        vectors_ND = np.zeros((len(texts), 512), np.float32)
        for vector, text in zip(vectors_ND, texts, strict=True):
            for word in re.findall(r"\w{3,}", text.lower()):
                vector[zlib.crc32(word.encode()) % 512] += 1
        return vectors_ND

    def restore(self, codes):
        return codes


@pytest.fixture(autouse=True)
def few_unrelated_questions(tmp_path_factory, monkeypatch):
    file = tmp_path_factory.mktemp("unrelated") / "unrelated.txt"
    file.write_text(UNRELATED)
    monkeypatch.setattr(relevance, "UNRELATED", file)
    monkeypatch.setattr(relevance, "OWN", 0)  # so that what is encoded is what is indexed


@pytest.fixture
def docs(tmp_path):
    for name, text in DOCUMENTS.items():
        file = tmp_path / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "docs"


def built(docs, encoder, **options):
    return build_index(docs, docs.parent / "index", encoder=encoder, **options)


def passages_of(found):
    return {p.id: (p.text, p.file, p.section) for p in found.fetch(found.list_places())}


def test_a_question_finds_its_passage_with_file_and_section(docs):
    found = search(built(docs, WordEncoder()), "When should I boil the egg?", top=2)
    hit, other = found.hits
    assert (hit.passage.file, hit.passage.section) == ("kitchen.md", ("Eggs",))
    assert hit.number == 1 and hit.score > other.score and other.number == 2
    with pytest.raises(ValueError, match="top is 0; it is a number of passages"):
        search(built(docs, WordEncoder()), "egg", top=0)
    with pytest.raises(ValueError, match="the question is empty"):
        search(built(docs, WordEncoder()), " ")


def test_a_second_build_reads_and_encodes_nothing(docs, monkeypatch):
    first = WordEncoder()
    built(docs, first)
    assert len(first.encoded) == 4 and "Eggs\nBoil an egg for six" in first.encoded[1]
    monkeypatch.setattr(build, "read_document", None)
    monkeypatch.setattr(build, "digest_files", None)
    again = WordEncoder()
    found = built(docs, again)
    assert not again.encoded and found.changes.unchanged == 3 and len(found) == 4
    reopened = open_index(found.folder, encoder=again)
    assert passages_of(reopened) == passages_of(found) and reopened.relevance == found.relevance


def test_of_a_changed_file_only_new_passages_are_encoded(docs, monkeypatch):
    built(docs, WordEncoder())
    (docs / "kitchen.md").write_text("# Soup\nCook the lentils.\n\n" + DOCUMENTS["kitchen.md"])
    (docs / "garden.txt").unlink()
    (docs / "new.txt").write_text("A new file.")
    (docs / "deep" / "town.rst").write_text(DOCUMENTS["deep/town.rst"])  # another time, no change
    os.utime(docs / "deep" / "town.rst", (1, 1))
    encoder = WordEncoder()
    found = built(docs, encoder)
    assert encoder.encoded == ["Soup\nCook the lentils.", "A new file."]
    changes = found.changes
    assert (changes.new, changes.changed, changes.removed, changes.unchanged) == (1, 1, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(build, "digest_files", None)  # the other time is known now
        assert built(docs, encoder).changes.unchanged == 3
    fresh = build_index(docs, docs.parent / "fresh", encoder=WordEncoder())
    assert passages_of(found) == passages_of(fresh)
    hits = [search(one, "the harbour", top=1).hits for one in (found, fresh)]
    assert hits[0] == hits[1]


def test_a_build_that_is_killed_resumes(docs, monkeypatch):
    monkeypatch.setattr(build, "SEGMENT_ROWS", 1)
    for number in range(20):
        (docs / f"more{number}.txt").write_text(f"Text number {number} of many.")
    encoder = WordEncoder()
    encoder.fails_at = 12
    with pytest.raises(KeyboardInterrupt):
        built(docs, encoder)
    left = list((docs.parent / "index").glob("segment-*.json"))
    assert len(left) >= 10
    (docs.parent / "index" / ".segment-00099.npy-1").write_bytes(b"left by a killed process")
    again = WordEncoder()
    found = built(docs, again)
    assert len(again.encoded) <= 24 - 12 + 1 and len(found) == 24
    fresh = build_index(docs, docs.parent / "fresh", encoder=WordEncoder())
    assert passages_of(found) == passages_of(fresh)


def test_segments_are_merged_where_most_rows_are_of_changed_files(docs):
    encoder = WordEncoder()
    for number in range(6):
        (docs / "garden.txt").write_text(f"Version {number}. " + DOCUMENTS["garden.txt"] * 3)
        (docs / "kitchen.md").write_text(f"{DOCUMENTS['kitchen.md']}\n# {number}\nVersion\n")
        (docs / "bad.md").write_text("# only a heading")
        found = built(docs, encoder)
    stored = sum(len(np.load(file)) for file in found.folder.glob("*.npy"))
    assert stored <= 2 * len(found) and [one.file for one in found.skipped] == ["bad.md"]
    fresh = build_index(docs, docs.parent / "fresh", encoder=encoder)
    assert passages_of(open_index(found.folder, encoder=encoder)) == passages_of(fresh)
    assert search(found, "version 5", top=2).hits == search(fresh, "version 5", top=2).hits
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:  # a block, and a part of a merge, hold a row or two
        patch.setattr(index, "BLOCK_ROWS", 2)
        patch.setattr(merging, "MERGED_ROWS", 2)
        (docs / "kitchen.md").write_text("Nothing but this.")
        smaller = built(docs, encoder)
        assert len(list(smaller.folder.glob("*.npy"))) > 1
        vectors = encode_passages(encoder, smaller.fetch(smaller.list_places()))
        asked = encode_questions(encoder, ["the harbour", "prune the trees"])
        best = [[score for _, score in one] for one in find_nearest(smaller, asked, 3)]
        assert np.allclose(best, -np.sort(-(asked @ vectors.T), axis=1)[:, :3])


def test_faiss_finds_what_an_exact_search_finds(docs, monkeypatch, caplog):
    pytest.importorskip("faiss", reason="the extra faiss is not installed")
    caplog.set_level("INFO")
    monkeypatch.setattr(approximate, "EXACT_ROWS", 50)
    monkeypatch.setattr(approximate, "TRAINED_ROWS", 8)
    nouns = ["harbour", "orchard", "kitchen", "lantern", "violin", "glacier", "meadow", "anchor"]
    for place in range(len(nouns) ** 2):
        words = [nouns[place % 8], nouns[place // 8], f"number{place}"] * 3
        (docs / f"{place}.txt").write_text(" ".join(words))
    found = built(docs, WordEncoder())
    asked = ["number7 harbour", "violin and glacier", "number60"]
    for question in asked:
        proposed = search(found, question, top=3)
        exact = search(found, question, top=3, kind="exact")
        assert [hit.score for hit in proposed.hits] == [hit.score for hit in exact.hits]
        assert proposed.hits[0].passage == exact.hits[0].passage
    lists, share = re.search(r"in (\d+) lists, .* find ([\d.]+)% of the 10", caplog.text).groups()
    assert int(lists) == 8 and float(share) >= 95
    (made,) = found.folder.glob("*.faiss")
    # Another process opens the same file; a changed document makes another.
    search(open_index(found.folder, encoder=WordEncoder()), asked[0])
    assert list(found.folder.glob("*.faiss")) == [made]
    (docs / "new.txt").write_text("submarine " * 5)
    again = search(built(docs, WordEncoder()), "submarine", kind="faiss")
    assert again.hits[0].passage.file == "new.txt"
    assert made not in found.folder.glob("*.faiss")
    with pytest.raises(ValueError, match="search=best is unknown; valid: auto, exact, faiss"):
        search(found, "q", kind="best")


def test_without_faiss_a_large_index_is_searched_exactly_and_says_so(docs, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(approximate, "EXACT_ROWS", 2)
    found = built(docs, WordEncoder())
    with pytest.raises(ValueError, match=r"search=faiss needs the package faiss-cpu .*\[faiss\]"):
        search(found, "harbour", kind="faiss")
    assert search(found, "harbour").hits == search(found, "harbour", kind="exact").hits
    assert "all 4 passages are compared with each question" in caplog.text


def test_an_index_of_anything_else_is_refused_by_name(docs):
    found = built(docs, WordEncoder())
    other = WordEncoder("other/model")
    message = r"was made with encoder=sentence_encoder on words .*, not .* on other/model .*rebuild"
    with pytest.raises(ValueError, match=message):
        built(docs, other)
    with pytest.raises(ValueError, match=message):
        open_index(found.folder, encoder=other)
    with pytest.raises(ValueError, match="made with max_tokens=200, not max_tokens=30"):
        built(docs, WordEncoder(), max_tokens=30)
    with pytest.raises(ValueError, match=r"made with documents=.*docs, not documents=.*deep"):
        build_index(docs / "deep", found.folder, encoder=WordEncoder())
    again = built(docs, other, rebuild=True)
    assert len(other.encoded) == 4 and len(open_index(again.folder, encoder=other)) == 4


def test_what_is_no_index_is_refused(docs):
    with pytest.raises(ValueError, match=r"deep holds other files \(town.rst\)"):
        build_index(docs, docs / "deep", encoder=WordEncoder())
    with pytest.raises(ValueError, match="holds no index; build_index makes one"):
        open_index(docs / "deep", encoder=WordEncoder())
    with pytest.raises(ValueError, match="max_tokens=300, and SentenceEncoder reads 256 tokens"):
        built(docs, WordEncoder(), max_tokens=300)


def test_documents_without_a_passage_are_an_error_that_says_why(tmp_path):
    (tmp_path / "docs").mkdir()
    with pytest.raises(ValueError, match=r"docs holds no document with a passage \(it is empty\)"):
        built(tmp_path / "docs", WordEncoder())
    (tmp_path / "docs" / "a.md").write_text("# heading")
    (tmp_path / "docs" / "b.jpg").write_text("x")
    (tmp_path / "docs" / ".c").write_text("x")
    message = r"\(a.md: headings without any text; files of other suffixes: .jpg; 1 are hidden\)"
    with pytest.raises(ValueError, match=message):
        built(tmp_path / "docs", WordEncoder())
    with pytest.raises(ValueError, match=r"2 files do not match include=\*.pdf"):
        build_index(tmp_path / "docs", tmp_path / "x", encoder=WordEncoder(), include="*.pdf")


def test_skipped_files_are_named_again_without_being_read(docs):
    (docs / "bad.txt").write_bytes(b"a\0b")
    (docs / "empty.txt").touch()
    for _ in range(2):
        found = built(docs, WordEncoder())
        assert [(one.file, one.reason) for one in found.skipped] == [
            ("bad.txt", "binary: it has zero bytes"),
            ("empty.txt", "empty"),
        ]
    assert found.changes.unchanged == 4


def test_nothing_relevant_is_found_for_an_unrelated_question(docs, monkeypatch):
    monkeypatch.setattr(relevance, "OWN", 8)
    encoder = WordEncoder()
    (docs / "garden.txt").write_text(
        "Prune apple trees in winter, when the apple trees rest. Old apple trees in winter rest."
    )
    found = built(docs, encoder)
    assert found.relevance.own == 3 and found.relevance.unrelated == 4
    assert search(found, "when to prune apple trees").relevant
    assert not search(found, "Which planet has rings?").relevant
    assert search(found, "Which planet has rings?", threshold=-1.0).relevant
    assert "of 4 unrelated questions score more" in found.relevance.describe()
    before = found.relevance
    (docs / "garden.txt").write_text("Another text. Entirely.")
    assert built(docs, encoder).relevance != before  # measured again


def test_the_threshold_has_the_fewest_errors():
    def choose(unrelated, own):
        return choose_threshold(np.float32(unrelated), np.float32(own))

    assert choose([0.1, 0.2], [0.6, 0.8]) == pytest.approx(0.4)
    assert choose([0.1, 0.2, 0.2, 0.2, 0.7], [0.6, 0.8, 0.8, 0.9]) == pytest.approx(0.4)
    assert choose([0.5, 0.6], [0.1, 0.2]) > 0.6  # nothing is relevant to such an encoder
    assert choose(np.linspace(0, 1, 101), []) == pytest.approx(0.95)


def test_a_sentence_is_taken_from_prose_of_several():
    prose = "Short one. This is the longest sentence of the three by far. And another one here too."
    assert choose_sentence(prose) == "This is the longest sentence of the three by far."
    assert choose_sentence("| a | table of several cells. | And more |\n| x | y |") is None
    assert choose_sentence("Only one sentence of a few words here.") is None
