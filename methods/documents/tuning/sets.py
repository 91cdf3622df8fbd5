"""Make the sets of questions that a table scores: human ones, titles and cloze sentences."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import normalize
from methods.documents.synthesis.rules import make_title_pairs
from methods.documents.tuning.pairs import make_formatted_cloze
from methods.documents.tuning.questions import (
    QuestionSet,
    ask_headings,
    ask_titles,
    format_passages,
    is_question,
    list_question_headings,
    make_question_set,
    read_questions,
    select_heldout,
)
from methods.documents.tuning.settings import HEADINGS, DocumentsSettings
from methods.documents.tuning.split import Split

log = logging.getLogger(__name__)
FEWEST = {"human": 2, "titles": 10, "cloze": 10}  # questions of a set that is scored


def list_hidden(settings: DocumentsSettings, passages: Sequence[Passage]) -> set[str]:
    """Return the headings that are asked as questions, in training or scoring, by their words."""
    hidden: set[str] = set()
    if "titles" in settings.pairs:
        hidden |= {normalize(pair.query) for pair in make_title_pairs(passages)[0]}
    if settings.questions == HEADINGS:
        hidden |= list_question_headings(passages)
    return hidden


def make_sets(
    settings: DocumentsSettings, passages: Sequence[Passage], split: Split, hidden: set[str]
) -> list[QuestionSet]:
    """Return the sets of questions of held-out documents that have enough to be scored.

    hidden: headings that are asked. Raises ValueError for human questions that match nothing.
    """
    heldout = {passage.id for passage in split.heldout}
    corpus = format_passages(passages, hidden=hidden)
    sets = []
    if settings.questions is not None:
        sets.append(_make_human(settings, passages, heldout, corpus))
    if "titles" in settings.pairs:
        pairs = [pair for pair in make_title_pairs(passages)[0] if pair.document in heldout]
        if settings.questions == HEADINGS:
            pairs = [pair for pair in pairs if not is_question(pair.query)]
        asked = select_heldout(ask_titles(pairs, passages), heldout)
        sets.append(make_question_set("titles", "titles of held-out sections", asked, corpus))
    if "cloze" in settings.pairs and settings.cloze_from == "train":
        pairs = make_formatted_cloze(split.heldout, hidden=hidden, seed=settings.seed)
        asked = {pair.id: (pair.query, [pair.document]) for pair in pairs}
        changed = {**corpus, **{pair.document: pair.positive for pair in pairs}}
        about = "sentences taken out of held-out passages"
        sets.append(make_question_set("cloze", about, asked, changed))
    return [one for one in sets if _is_scored(one)]


def _make_human(
    settings: DocumentsSettings,
    passages: Sequence[Passage],
    heldout: set[str],
    corpus: Mapping[str, str],
) -> QuestionSet:
    """Return the human questions of held-out documents. Raises ValueError where none has any."""
    if settings.questions == HEADINGS:
        asked = ask_headings(passages)
        if not asked:
            raise ValueError(
                f"documents.questions=headings, but no heading in {settings.docs} is a question; "
                f"give documents.questions=FILE, or leave it out"
            )
        about = "headings that are questions"
    else:
        file = str(settings.questions)
        asked, unmatched = read_questions(file, passages)
        if not asked:
            first = f", for instance {unmatched[0]!r}" if unmatched else ""
            raise ValueError(
                f"documents.questions={file}: none of {len(unmatched)} questions matches a passage "
                f"of {settings.docs}{first}; file is the document's name as it is in the folder, "
                f"section a heading, answer a text that stands in one passage"
            )
        if unmatched:
            log.warning(
                "%s: %d questions match no passage and are left out (%s)",
                *(file, len(unmatched), "; ".join(unmatched[:3])),
            )
        corpus, about = format_passages(passages), f"questions of {Path(file).name}"
    own = select_heldout(asked, heldout)
    if not own:
        raise ValueError(
            f"none of the {len(asked)} human questions is answered in the held-out passages alone; "
            f"hold out more (documents.heldout, now {settings.heldout:g}), or draw others "
            f"(documents.seed, now {settings.seed})"
        )
    log.info("%d of %d human questions are of held-out passages", len(own), len(asked))
    return make_question_set("human", about, own, corpus)


def _is_scored(one: QuestionSet) -> bool:
    """Return whether a set has enough questions to be scored; log where it has not."""
    enough = len(one.queries) >= FEWEST[one.name]
    if not enough:
        log.info("%s: %d questions, too few to be scored", one.about, len(one.queries))
    return enough
