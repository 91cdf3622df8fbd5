"""The interface of a training objective, and how a recipe names one.

An objective is one file: which rows it takes, which tokens it needs, which recipes it refuses, and
the trainer that takes the steps. It is given a `Setup` and never sees the job. The built-in ones
have a short name; one of your own is named by module and class (README.md, "Add a training
objective").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from datasets import DatasetDict

from methods.backbone.loader import Backbone, BackboneSpec
from methods.base import Method
from methods.config.plugins import import_class
from methods.fields import build, nearest
from methods.identity import digest_class
from methods.training.recipe import Recipe

Reads = Literal["pairs", "texts"]
BUILT_IN = {
    "contrastive": "methods.training.contrastive.Contrastive",
    "mntp": "methods.training.mntp.MaskedNextToken",
}
OWN = (
    "One of your own is named by its module and class, recipe.objective=my_module.MyObjective, "
    "with my_module.py in the folder that --config-dir names"
)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything an objective is given to build its trainer.

    method: its layer is a number of this model, or -1. spec: what the backbone was loaded from.
    trained: the model with what is trained (a PeftModel, or the model itself). packed: whether
    sequences may be packed. mini_batch_tokens: tokens that may be in memory at a time, or None.
    validates: whether tasks choose the best checkpoint; a trainer then needs an `eval_dataset`,
    whose rows are not read.
    trainer_options: call it with the class of training arguments and `num_rows=` of the data; it
    returns the keyword arguments that every trainer takes (trainer.TrainerExtensions). With
    `mini_batch=` rows, a batch is cut into equal parts of no more, whose gradients are added;
    `evaluates=True`: the trainer is evaluated every `run.every` steps also without tasks.
    """

    backbone: Backbone
    method: Method
    recipe: Recipe
    spec: BackboneSpec
    trained: Any
    packed: bool
    mini_batch_tokens: int | None
    num_processes: int
    seed: int
    validates: bool
    trainer_options: Callable[..., dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A training objective. Its fields are its settings: `recipe.objective.FIELD`.

    reads: `pairs` (rows of query, positive, negative_1 ..., instruction, symmetric) or `texts`
        (rows of text).
    """

    reads: ClassVar[Reads]

    def check(self, recipe: Recipe) -> None:  # noqa: B027 (most need no check)
        """Raise ValueError for a recipe this objective cannot follow; called before any loading."""

    def new_tokens(self, recipe: Recipe, tokenizer: Any) -> tuple[str, ...]:
        """Return tokens the vocabulary must have; rows of those it lacked are added and trained."""
        return ()

    @abstractmethod
    def build_trainer(self, setup: Setup, rows: DatasetDict) -> Any:
        """Return a trainer (a TrainerExtensions) over checked rows, by the name of their source.

        Raises ValueError for rows that make no batch.
        """


def build_objective(named: str | Mapping[str, Any]) -> Objective:
    """Return the objective that `recipe.objective` names: `contrastive`, `module.Class`, or a
    mapping of `_target_` and the fields of that class. Raises ValueError for any other."""
    settings: dict[str, Any] = {"_target_": named} if isinstance(named, str) else dict(named)
    name = str(settings.pop("_target_", ""))
    target = BUILT_IN.get(name, name)
    if "." not in target:
        got = f"{target!r} is unknown" if target else "names no class (_target_)"
        hint = nearest(target, BUILT_IN).rstrip("?")
        raise ValueError(f"recipe.objective {got}; valid: {', '.join(BUILT_IN)}{hint}. {OWN}")
    found = import_class(target, "recipe.objective", hint=f"valid: {', '.join(BUILT_IN)}. {OWN}")
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise ValueError(
            f"recipe.objective={target} is no methods.training.objective.Objective; derive it from "
            f"that class, or from a built-in objective"
        )
    if lacking := found.__abstractmethods__:
        raise ValueError(f"recipe.objective={target} lacks {', '.join(sorted(lacking))}")
    if (reads := getattr(found, "reads", None)) not in get_args(Reads):
        raise ValueError(f"{target}.reads is {reads!r}; valid: {', '.join(get_args(Reads))}")
    return build(found, settings, key="recipe.objective")


def digest_own_code(objective: Objective) -> str | None:
    """Return a digest of the code of an objective of your own, so that an edited one is another
    training; None for a built-in one."""
    own = type(objective)
    return None if own.__module__.startswith("methods.") else digest_class(own)
