"""Say in words why two rows of token ids differ, and what usually causes that.

Nothing is guessed: a cause is named where the tokens show it, else the place where they part.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import commonprefix

from methods.interop.alignment import Alignment, align, trim_padding
from methods.interop.stages import EncoderStages, TextStages

MARKED = re.compile("⟦(.*?)⟧")  # how stages.py shows special tokens
SHOWN = 60  # characters of a text that a sentence shows
HINTS = {
    "chat template": "a chat template: sentence-transformers 6 wraps every text in the tokenizer's "
    "own, unless sentence_bert_config.json has a modality_config of text alone, or the folder has "
    "no chat_template.jinja",
    "EOS": "an EOS that only one appends: transformers 5 ignores add_eos_token; append it by its "
    "id, or by the tokenizer's post-processor",
    "BOS": "a BOS that only one puts before the text: transformers 5 ignores add_bos_token",
    "special tokens": "special tokens that only one tokenizer adds by itself (its post-processor)",
    "prompt": "a prompt or instruction that only one uses, or two that differ: side=, instruction= "
    "(methods of ours), prompt= or prompt_name= (sentence-transformers)",
    "template": "a template whose end only one has; it must stand behind a truncated text too",
    "truncation": "truncation at another length: max_length (methods of ours), max_seq_length "
    "(sentence-transformers)",
    "blanks": "one strips texts or replaces line breaks (LangChain does) before tokenising",
    "case": "one lower-cases texts (do_lower_case, or the tokenizer's normalizer)",
    "Unicode": "one normalises Unicode (the tokenizer's normalizer)",
    "literal": "one reads a special token that stands in the text as that token "
    "(split_special_tokens=True makes it text)",
    "tokenizer": "another tokenizer, or other files of it: its merges, or how it splits digits and "
    "blanks",
    "empty": "an empty text without a token: methods of ours read it as BOS, or as EOS",
    "fault": "",
    "other": "",
}
RULES: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("blanks", "in blanks and line breaks only", lambda text: " ".join(text.split())),
    ("case", "in case only", lambda text: text.lower()),
    ("Unicode", "in Unicode form only", lambda text: unicodedata.normalize("NFKC", text)),
)


@dataclass(frozen=True)
class Cause:
    """Why two rows differ. kind: a key of HINTS. sentence: what was seen."""

    kind: str
    sentence: str

    @property
    def hint(self) -> str:
        return HINTS[self.kind]


def explain_tokens(
    x: TextStages, y: TextStages, a: EncoderStages, b: EncoderStages, text: str
) -> list[Cause]:
    """Return why the token ids of one text differ between two encoders, most telling first."""
    for one, side in ((x, "A"), (y, "B")):
        if one.fault:
            return [Cause("fault", f"for {_quote(text)} {side} raises {one.fault}")]
    if x.ids is None or y.ids is None:
        return []
    mine, theirs = trim_padding(x, y)
    ids, others = x.ids[mine], y.ids[theirs]
    found = align(ids, others)
    if not ids or not others or not (text or found.length):
        shown = [_show(row, one) if row else "no token" for row, one in ((ids, a), (others, b))]
        return [Cause("empty", f"for {_quote(text)} A has {shown[0]}, B {shown[1]}")]
    if rewritten := _explain_text(x, y):
        return rewritten
    rests = [_split_tail(end, one)[0] for end, one in zip(found.ends, (a, b), strict=True)]
    framed = _explain_front(found, a, b)
    framed += [] if all(rests) else _explain_end(found, a, b, text)
    if all(rests) or not framed:
        return [*framed, _describe_parting(found, a, b)]
    return _join_template(framed)


def _explain_front(found: Alignment, a: EncoderStages, b: EncoderStages) -> list[Cause]:
    """Explain what stands before the tokens that both rows have."""
    causes = []
    sides = list(zip("AB", found.fronts, (a, b), strict=True))
    for (side, front, encoder), (other, others, another) in (sides, sides[::-1]):
        if not front:
            continue
        sentence = f"{side} has {_count(front)} more at the front, {_show(front, encoder)}"
        if others:
            sentence = f"{side} begins with {_show(front, encoder)}, {other} with "
            sentence += _show(others, another)
        specials = set(front) & encoder.special.keys()
        if front == [encoder.roles.get("bos")]:
            kind = "BOS"
        elif specials == set(front):
            kind = "special tokens"
        else:
            kind = "chat template" if specials - {encoder.roles.get("bos")} else "prompt"
        causes.append(Cause(kind, sentence))
    chat = [cause for cause in causes if cause.kind == "chat template"]
    return (chat or causes)[:1]


def _explain_end(found: Alignment, a: EncoderStages, b: EncoderStages, text: str) -> list[Cause]:
    """Explain what stands behind the tokens that both rows have."""
    causes = []
    (rest, tail), (other_rest, other_tail) = (
        _split_tail(end, encoder) for end, encoder in zip(found.ends, (a, b), strict=True)
    )
    for mine, theirs, encoder, side, other in (
        (tail, other_tail, a, "A", "B"),
        (other_tail, tail, b, "B", "A"),
    ):
        if mine and not theirs:
            kind = "EOS" if encoder.roles.get("eos") in mine else "special tokens"
            causes.append(Cause(kind, f"{side} ends with {_show(mine, encoder)}, {other} does not"))
    if tail and other_tail and tail != other_tail:
        ends = f"A ends with {_show(tail, a)}, B with {_show(other_tail, b)}"
        causes.append(Cause("special tokens", ends))
    if len(found.a) == len(found.b):  # both are cut alike, and an EOS takes the place of a token
        return causes
    if rest and not other_rest:
        causes.append(_explain_longer(rest, ("A", a), "B", len(found.b), text))
    if other_rest and not rest:
        causes.append(_explain_longer(other_rest, ("B", b), "A", len(found.a), text))
    return causes


def _explain_longer(
    rest: list[int], longer: tuple[str, EncoderStages], other: str, length: int, text: str
) -> Cause:
    """Explain what only one row has at its end: more of the text, or the end of a template."""
    spelt, whole = ("".join(one.split()).lower() for one in (_spell(rest, longer[1]), text))
    if spelt and spelt[:SHOWN] in whole:
        sentence = f"{other} is cut at {length} tokens, {longer[0]} has {_count(rest)} more"
        return Cause("truncation", sentence)
    shown = _show(rest, longer[1])
    return Cause("template", f"{longer[0]} has {_count(rest)} more at the end, {shown}")


def _explain_text(x: TextStages, y: TextStages) -> list[Cause]:
    """Explain rows that spell the same text in another way."""
    if x.prepared is None or y.prepared is None:
        return []
    both = (x.prepared, y.prepared)
    if both[0] == both[1]:
        return [Cause("tokenizer", "the same text is split into other tokens")]
    if len({re.sub("[⟦⟧]", "", one) for one in both}) == 1:
        side, more = max(zip("AB", both, strict=True), key=lambda one: len(one[1]))
        found = next(iter(set(MARKED.findall(more)) - set(MARKED.findall(min(both, key=len)))), "")
        return [Cause("literal", f"{side} reads {found!r} in the text as a special token")]
    bare = [MARKED.sub("", one) for one in both]
    for kind, how, simplify in RULES:
        if bare[0] != bare[1] and simplify(bare[0]) == simplify(bare[1]):
            place = len(commonprefix(bare))
            shown = [repr(shorten(one[max(place - 10, 0) :])) for one in bare]
            return [Cause(kind, f"the texts differ {how}: A {shown[0]}, B {shown[1]}")]
    return []


def _describe_parting(found: Alignment, a: EncoderStages, b: EncoderStages) -> Cause:
    place = found.length if not (found.a_start or found.b_start) else 0
    shown = [_show(ids[place:], one) for ids, one in ((found.a, a), (found.b, b))]
    return Cause("other", f"the tokens part at position {place}: A {shown[0]}, B {shown[1]}")


def _join_template(causes: list[Cause]) -> list[Cause]:
    """Join the end of a chat template to its front."""
    if causes[0].kind != "chat template" or len(causes) < 2:
        return causes
    tails = [c for c in causes[1:] if c.kind in ("template", "special tokens", "EOS")]
    others = [c for c in causes[1:] if c not in tails]
    joined = "; ".join(cause.sentence for cause in [causes[0], *tails])
    return [Cause("chat template", joined), *others]


def _split_tail(end: Sequence[int], encoder: EncoderStages) -> tuple[list[int], list[int]]:
    """Split an end into text and the special tokens behind it."""
    stop = len(end)
    while stop and end[stop - 1] in encoder.special:
        stop -= 1
    return list(end[:stop]), list(end[stop:])


def _spell(ids: Sequence[int], encoder: EncoderStages) -> str:
    return encoder.decode(ids) if encoder.decode else str(list(ids))


def _show(ids: Sequence[int], encoder: EncoderStages) -> str:
    return repr(shorten(_spell(ids[:200], encoder)))


def _quote(text: str) -> str:
    return f"the text {shorten(text)!r}" if text else "an empty text"


def _count(ids: Sequence[int]) -> str:
    return "1 token" if len(ids) == 1 else f"{len(ids)} tokens"


def shorten(text: str) -> str:
    """Return a text of at most SHOWN characters."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
