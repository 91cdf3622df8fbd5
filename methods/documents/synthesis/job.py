"""Make pairs: ask the generator, reject, search, write. Every step but the first is made anew by
each run, of the answers that are stored (journal.py)."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.documents.passage import Passage
from methods.documents.synthesis.e5 import (
    make_example_prompts,
    make_task_prompts,
    take_examples,
    take_tasks,
)
from methods.documents.synthesis.e5_prompts import GROUPS
from methods.documents.synthesis.generators import Answer, Generator
from methods.documents.synthesis.journal import Journal
from methods.documents.synthesis.outputs import write_outputs
from methods.documents.synthesis.pairs import Pair, Reject, make_seed
from methods.documents.synthesis.questions import (
    PROMPTS,
    make_question_prompts,
    select_askable,
    take_questions,
)
from methods.documents.synthesis.retrieval import (
    Sides,
    filter_round_trip,
    make_corpus,
    mine_negatives,
)
from methods.documents.synthesis.rules import make_cloze_pairs, make_title_pairs
from methods.identity import digest
from methods.records import write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What pairs are made, and how they are checked; see conf/synthesize.yaml."""

    kinds: Sequence[str]
    prompts: Sequence[str] = tuple(PROMPTS)
    number: int = 10
    task_lists: int = 2
    languages: Sequence[str] = ()
    top_k: int = 3
    negatives: int = 1
    margin: float = 0.05
    seed: int = 0


@dataclass
class Synthesis:
    """A synthesis. `run` makes the pairs that the folder lacks, and writes all of it.

    asked: questions are asked about so many passages; None: about all. make_generator, make_sides:
    load what they return when it is first needed. about: what the record states beside.
    """

    out: Path
    choices: Choices
    passages: Sequence[Passage]
    make_generator: Callable[[], Generator] | None
    make_sides: Callable[[], Sides] | None
    asked: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    yields: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    answers: list[Answer] = field(default_factory=list, init=False)

    def run(self) -> dict[str, Any]:
        """Make the pairs; return the record, which is written too."""
        begun = time.perf_counter()
        journal = Journal(self.out)
        with journal.lock():
            generator = self._open(journal)
            pairs, rejects = self._make_pairs(journal, generator)
            pairs = self._add_negatives(pairs)
            rows = write_outputs(self.out, pairs, rejects, self.passages)
            record = self._describe(pairs, rejects, rows, generator, time.perf_counter() - begun)
            text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            write_atomically(self.out / "record.json", text)
        return record

    def _open(self, journal: Journal) -> Generator | None:
        generator = self.make_generator() if self.make_generator else None
        made_by = {} if generator is None else generator.describe()
        templates = {name: [g.tasks, g.example, g.keys, g.choices] for name, g in GROUPS.items()}
        settings = {key: getattr(self.choices, key) for key in ("task_lists", "languages", "seed")}
        journal.open(
            {"generator": made_by, "prompts": digest([PROMPTS, templates]), "settings": settings}
        )
        return generator

    def _make_pairs(
        self, journal: Journal, generator: Generator | None
    ) -> tuple[list[Pair], list[Reject]]:
        kinds, seed = self.choices.kinds, self.choices.seed
        pairs: list[Pair] = []
        rejects: list[Reject] = []
        if "title" in kinds:
            self._add(pairs, rejects, make_title_pairs(self.passages), asked="sections")
        if "cloze" in kinds:
            self._add(pairs, rejects, make_cloze_pairs(self.passages, seed=seed), asked="passages")
        if generator is not None and "question" in kinds:
            self._add(pairs, rejects, self._ask_questions(journal, generator), asked="prompts")
        if generator is not None and (groups := [kind for kind in kinds if kind in GROUPS]):
            self._add(pairs, rejects, self._ask_examples(journal, generator, groups), asked="")
        return pairs, rejects

    def _add(
        self,
        pairs: list[Pair],
        rejects: list[Reject],
        made: tuple[list[Pair], list[Reject]],
        *,
        asked: str,
    ) -> None:
        """Add what a step made, and count it by prompt or group."""
        pairs += made[0]
        rejects += made[1]
        usable = Counter(pair.prompt or pair.kind for pair in made[0])
        reasons: dict[str, Counter[str]] = {}
        for reject in made[1]:
            reasons.setdefault(reject.group, Counter())[reject.reason] += 1
        for name in dict.fromkeys([*usable, *reasons]):
            lost = reasons.get(name, Counter())
            number = usable[name] + lost.total()
            if name.endswith(", tasks"):  # an answer of tasks is no pair
                continue
            self.yields[name] = {"of": number, "usable": usable[name]}
            self.yields[name] |= {"rejects": dict(lost.most_common())}
            log.info(
                "%s: %d of %d %s are usable%s",
                *(name, usable[name], number, asked or "examples"),
                "; " + ", ".join(f"{n} {why}" for why, n in lost.most_common()) if lost else "",
            )

    def _ask_questions(
        self, journal: Journal, generator: Generator
    ) -> tuple[list[Pair], list[Reject]]:
        names = self.choices.prompts
        drawn = draw_passages(select_askable(self.passages), self.asked, self.choices.seed)
        prompts = make_question_prompts(drawn, names)
        answers = journal.complete(prompts, generator, title="questions")
        self.answers += answers.values()
        pairs, rejects = take_questions(drawn, answers, names)
        if self.choices.top_k and self.make_sides and pairs:
            sides, top_k = self.make_sides(), self.choices.top_k
            pairs, lost = filter_round_trip(pairs, self.passages, sides, top_k=top_k)
            rejects += lost
        return pairs, rejects

    def _ask_examples(
        self, journal: Journal, generator: Generator, groups: Sequence[str]
    ) -> tuple[list[Pair], list[Reject]]:
        choices = self.choices
        asked = make_task_prompts(groups, choices.task_lists)
        listed = journal.complete(asked, generator, title="tasks")
        tasks, without = take_tasks(listed.values())
        prompts = make_example_prompts(
            groups, choices.number, tasks, languages=choices.languages, seed=choices.seed
        )
        answers = journal.complete(
            [prompt for prompt, _ in prompts.values()], generator, title="examples"
        )
        self.answers += [*listed.values(), *answers.values()]
        pairs, rejects, mended = take_examples(prompts, answers)
        lists = Counter(reject.group for reject in without)
        for name in tasks:
            bad = lists[f"{name}, tasks"]
            self.yields[f"{name}, tasks"] = {"of": choices.task_lists, "usable": len(tasks[name])}
            log.info("%s: %d tasks; %d lists without any", name, len(tasks[name]), bad)
            if not tasks[name]:
                rejects += [
                    Reject(f"example/{name}/{place}", name, "no task", "")
                    for place in range(choices.number)
                ]
        self.yields["JSON mended"] = {"usable": mended}
        return pairs, [*without, *rejects]

    def _add_negatives(self, pairs: list[Pair]) -> list[Pair]:
        """Return pairs with hard negatives, but for those that have some."""
        if not self.choices.negatives or self.make_sides is None:
            return pairs
        complete: dict[str, Pair] = {pair.id: pair for pair in pairs}
        for kind in dict.fromkeys(pair.kind for pair in pairs if not pair.negatives):
            own = [pair for pair in pairs if pair.kind == kind]
            from_documents = self.passages if kind not in GROUPS else ()
            mined, without = mine_negatives(
                own,
                make_corpus(own, from_documents),
                self.make_sides(),
                number=self.choices.negatives,
                margin=self.choices.margin,
            )
            if without:
                log.info(
                    "%s: %d of %d pairs have no %d negatives %g below their positive, and no row "
                    "for training",
                    *(kind, without, len(own), self.choices.negatives, self.choices.margin),
                )
            complete |= {pair.id: pair for pair in mined}
        return list(complete.values())

    def _describe(
        self,
        pairs: Sequence[Pair],
        rejects: Iterable[Reject],
        rows: Mapping[str, int],
        generator: Generator | None,
        seconds: float,
    ) -> dict[str, Any]:
        answers = [answer for answer in self.answers if answer.error is None]
        return {
            "schema": 1,
            **self.about,
            "passages": len(self.passages),
            "yield": self.yields,
            "pairs": dict(Counter(pair.kind for pair in pairs)),
            "training_rows": dict(rows),
            "rejects": sum(1 for _ in rejects),
            "generated": {
                "answers": len(answers),
                "failed": len(self.answers) - len(answers),
                "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
                "tokens": sum(answer.tokens for answer in answers),
                "seconds": round(sum(answer.seconds for answer in self.answers), 1),
                **({} if generator is None else generator.describe_run()),
            },
            "seconds": round(seconds, 1),
        }


def draw_passages(passages: Sequence[Passage], number: int | None, seed: int) -> list[Passage]:
    """Return so many of the passages, in their order, drawn by their ids; all for None."""
    if number is None or number >= len(passages):
        return list(passages)
    ranked = sorted(passages, key=lambda passage: make_seed(seed, passage.id))
    drawn = {passage.id for passage in ranked[:number]}
    return [passage for passage in passages if passage.id in drawn]
