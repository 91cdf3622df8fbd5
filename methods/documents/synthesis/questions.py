"""Questions that a language model asks about passages, and what makes one unusable.

Small models follow an instruction that comes after the passage; with the instruction first and the
passage last SmolLM2-135M wrote not one usable question in forty (a trial of one afternoon, one
seed). So the passage comes first, and the turn ends where the question begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from methods.documents.passage import Passage
from methods.documents.synthesis.generators import Answer, Prompt
from methods.documents.synthesis.pairs import Pair, Reject, list_words, normalize

# Prompts by name: what follows the passage in the user's turn, and what the answer begins with.
PROMPTS: Mapping[str, tuple[str, str]] = {
    "plain": ("Write one question that the text above answers.\nQuestion:", ""),
    "what": ("Write one question that the text above answers.", "What"),
    "how": ("Write one question that the text above answers.", "How"),
    "why": ("Write one question that the text above answers.", "Why"),
}
LABEL = re.compile(r"^[\s*#>\"'-]*(?:question\s*\d*\s*[:.]|q\s*\d*:|\d+[.)])[\s*]*", re.IGNORECASE)
MARKS = "?？؟;"  # the Greek one is a semicolon
SHORTEST = 4  # words of a question
FEWEST = 12  # words of a passage that questions are asked about
ABOUT_ITSELF = re.compile(r"\b(?:text|passage|sentence|question|statement) above\b", re.IGNORECASE)
SHARED = 0.5  # of a question's content words, what its passage has
FUNCTION_WORDS = frozenset(
    """a about after all also an and any are as at be because been before being between both but by
    can could did do does doing during each either for from had has have having how i if in into is
    it its made main make many may me might more most much must my no not of on one only or other
    our over own purpose same should so some such than that the their them then there these they
    this those through to under up use used using very was we were what when where whether which
    while who whom whose why will with would you your""".split()
)


def select_askable(passages: Iterable[Passage]) -> list[Passage]:
    """Return the passages that have enough words to be asked about."""
    return [passage for passage in passages if len(list_words(passage.text)) >= FEWEST]


def make_question_prompts(
    passages: Iterable[Passage], names: Sequence[str] = tuple(PROMPTS)
) -> list[Prompt]:
    """Return a prompt for each passage and each name of PROMPTS."""
    made = []
    for passage in passages:
        for name in names:
            ask, opening = PROMPTS[name]
            text, cue = f"{passage.text.strip()}\n\n{ask}", f"\nQuestion: {opening}"
            id = f"question/{name}/{passage.id}"
            made.append(Prompt(id, text, opening, cue if opening else ""))
    return made


def take_questions(
    passages: Iterable[Passage],
    answers: Mapping[str, Answer],
    names: Sequence[str] = tuple(PROMPTS),
) -> tuple[list[Pair], list[Reject]]:
    """Return the usable questions and the others, each with the reason.

    answers: by the ids of the prompts; one that is not there is not counted. Of questions that are
    alike the first stays.
    """
    pairs: list[Pair] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for passage in passages:
        for name in names:
            answer = answers.get(f"question/{name}/{passage.id}")
            if answer is None:
                continue
            question = clean_question(answer.text)
            reason = "no answer" if answer.error else find_reject(question, passage.text)
            if reason is None and normalize(question) in seen:
                reason = "duplicate"
            if reason is not None:
                rejects.append(Reject(answer.id, name, reason, answer.error or answer.text))
                continue
            seen.add(normalize(question))
            pairs.append(Pair(answer.id, "question", question, passage.text, passage.id, name))
    return pairs, rejects


def clean_question(text: str) -> str:
    """Return the first question of an answer: without its label, up to the first question mark or
    the end of its first line."""
    text = LABEL.sub("", text.strip(), count=1).strip()
    line = text.split("\n", 1)[0].strip()
    if found := re.search(rf"[{MARKS[:3]}]|;$", line):
        line = line[: found.end()]
    return line.strip("*\"'“”` ")


def find_reject(question: str, passage: str) -> str | None:
    """Return why a question is not usable, or None: its form, and its words against the passage."""
    if not question:
        return "empty"
    if question[-1] not in MARKS:
        return "no question mark"
    words = list_words(question)
    if len(words) < SHORTEST:
        return "too short"
    if " ".join(words) in normalize(passage):
        return "copied"
    if ABOUT_ITSELF.search(question):
        return "about the text itself"
    content = {word for word in words if word not in FUNCTION_WORDS}
    known = set(list_words(passage))
    if not content or sum(_is_known(word, known) for word in content) < SHARED * len(content):
        return "off topic"
    return None


def _is_known(word: str, known: set[str]) -> bool:
    """Return whether a passage has a word or another of its forms, by how it begins."""
    stem = word[: max(4, len(word) - 3)]
    return word in known or (len(word) > 4 and any(other.startswith(stem) for other in known))
