"""Make training pairs of the training documents, and of some of their sections the questions that
choose the best checkpoint. No pair holds the text of a held-out passage, unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from methods.data.readers import open_table
from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import Pair, list_words, make_seed
from methods.documents.synthesis.rules import find_titles, make_cloze_pairs, make_title_pairs
from methods.documents.tuning.questions import (
    QuestionSet,
    ask_titles,
    format_passages,
    make_question_set,
)
from methods.documents.tuning.split import Split

GRAM = 8  # words in a row by which a text is recognised
SHARED = 0.5  # of a text's, from which it is a held-out passage's
SEARCHED = 200  # passages that validation searches, which is repeated every few steps


@dataclass
class TrainingPairs:
    """Pairs to train on by their source, and the questions that choose a checkpoint.

    rows: source -> pairs; the positive is what is encoded. left_out: source -> how many pairs have
    the text of a held-out passage.
    """

    rows: dict[str, list[Pair]]
    validation: QuestionSet
    left_out: dict[str, int] = field(default_factory=dict)


def make_pairs(
    split: Split,
    *,
    kinds: Collection[str],
    cloze_from: str = "train",
    files: Sequence[str] = (),
    hidden: Collection[str] = (),
    validation: float = 0.15,
    seed: int = 0,
) -> TrainingPairs:
    """Return the training pairs of a split, and the validation set of some training sections.

    kinds, cloze_from, files, validation, seed: see DocumentsSettings. hidden: headings that are
    questions. Raises ValueError where nothing is left for one of the two.
    """
    every = [*split.training, *split.heldout]
    used = every if cloze_from == "all" else list(split.training)
    texts = format_passages(used, hidden=hidden)
    sources: dict[str, list[Pair]] = {}
    if "titles" in kinds:
        own = {passage.id for passage in split.training}
        titles = [pair for pair in make_title_pairs(every)[0] if pair.document in own]
        sources["titles"] = [replace(pair, positive=texts[pair.document]) for pair in titles]
    if "cloze" in kinds:
        sources["cloze"] = make_formatted_cloze(used, hidden=hidden, seed=seed)
    sources |= read_pair_files(files)
    forbidden = _list_grams(passage.text for passage in split.heldout)
    left_out = {}
    for name, pairs in sources.items():
        if name == "cloze" and cloze_from == "all":
            continue
        kept = [pair for pair in pairs if not shares_text(pair.positive, forbidden)]
        left_out[name], sources[name] = len(pairs) - len(kept), kept
    shown = split.training or (used if cloze_from == "all" else ())
    rows, chosen = _set_aside(sources, shown, share=validation, seed=seed)
    corpus = _make_corpus(shown, chosen, sources, hidden)
    return TrainingPairs(rows, _make_validation(chosen, shown, corpus, seed), left_out)


def make_formatted_cloze(
    passages: Sequence[Passage], *, hidden: Collection[str], seed: int
) -> list[Pair]:
    """Return cloze pairs whose positive is what is encoded: the rest, under its headings."""
    pairs, _ = make_cloze_pairs(passages, seed=seed)
    known = {passage.id: passage for passage in passages}
    rest = [replace(known[pair.document], text=pair.positive) for pair in pairs]
    texts = format_passages(rest, hidden=hidden)
    return [replace(pair, positive=texts[pair.document]) for pair in pairs]


def read_pair_files(files: Iterable[str]) -> dict[str, list[Pair]]:
    """Read pairs of query and positive, as `dec2vec synthesize` writes them; a source for each."""
    found: dict[str, list[Pair]] = {}
    for file in files:
        path = Path(file).expanduser()
        name = path.stem if path.stem not in (*found, "titles", "cloze") else f"{path.stem}_file"
        pairs = []
        for place, row in open_table(path).iterate_places():
            texts = [row.get(key) for key in ("query", "positive")]
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise ValueError(
                    f"documents.files: {file}, {place} has no query and positive; it has: "
                    f"{', '.join(row)}. dec2vec synthesize writes such files: OUT/train/KIND.jsonl"
                )
            id = f"{name}/{len(pairs)}"
            pairs.append(Pair(id, name, str(texts[0]), str(texts[1]), id))
        found[name] = pairs
    return found


def shares_text(text: str, grams: frozenset[str]) -> bool:
    """Return whether half of a text or more is known by its grams."""
    own = _list_grams([text])
    return bool(own) and len(own & grams) >= SHARED * len(own)


def _list_grams(texts: Iterable[str]) -> frozenset[str]:
    """Return the runs of words of some texts; of a short text, all of it."""
    found = set()
    for text in texts:
        words = list_words(text)
        runs = range(max(len(words) - GRAM + 1, 1)) if words else ()
        found |= {" ".join(words[start : start + GRAM]) for start in runs}
    return frozenset(found)


def _set_aside(
    sources: Mapping[str, Sequence[Pair]], passages: Sequence[Passage], *, share: float, seed: int
) -> tuple[dict[str, list[Pair]], list[Pair]]:
    """Return the pairs to train on, and those of sections that are set aside for validation."""
    place = {p.id: (p.file, *titles) if (titles := find_titles(p)) else p.id for p in passages}

    def is_aside(pair: Pair) -> bool:
        if pair.document not in place and pair.kind in ("title", "cloze"):
            return False  # of a held-out passage, whose text alone is trained on
        key = place.get(pair.document, pair.document)
        return make_seed(seed, "validation", key) < share * 2**63

    rows = {name: [p for p in own if not is_aside(p)] for name, own in sources.items()}
    return rows, [pair for own in sources.values() for pair in own if is_aside(pair)]


def _make_corpus(
    passages: Sequence[Passage],
    chosen: Iterable[Pair],
    sources: Mapping[str, Sequence[Pair]],
    hidden: Collection[str],
) -> dict[str, str]:
    """Return what validation searches: training passages, of a cloze what is left, and the texts of
    files."""
    corpus = format_passages(passages, hidden=hidden)
    corpus |= {pair.document: pair.positive for pair in chosen if pair.kind == "cloze"}
    from_files = [p for own in sources.values() for p in own if p.kind not in ("title", "cloze")]
    return corpus | {pair.document: pair.positive for pair in from_files}


def _make_validation(
    chosen: Sequence[Pair], passages: Sequence[Passage], corpus: Mapping[str, str], seed: int
) -> QuestionSet:
    """Return the validation questions over their answers, and other passages up to `SEARCHED`."""
    titles = [pair for pair in chosen if pair.kind == "title"]
    asked = ask_titles(titles, passages)
    asked |= {pair.id: (pair.query, [pair.document]) for pair in chosen if pair.kind != "title"}
    answers = {id for _, own in asked.values() for id in own}
    others = sorted(corpus.keys() - answers, key=lambda id: make_seed(seed, "searched", id))
    searched = answers | set(others[: max(SEARCHED - len(answers), 0)])
    small = {id: text for id, text in corpus.items() if id in searched}
    return make_question_set("validation", "questions of training documents", asked, small)
