"""Make a task of a user's own class (`_target_`), a subclass of mteb's AbsTask."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from mteb.abstasks import AbsTask
from mteb.abstasks.task_metadata import TaskMetadata

from methods.config.own_tasks import WORD, OwnClass
from methods.config.plugins import import_class
from methods.evaluation.mteb_internals import list_task_names
from methods.identity import digest_file_code


def make_class_task(given: OwnClass) -> Any:
    """Return an instance of a user's class. Raises ValueError for what is no task of their own.

    own: what records state of it. own_code: a digest of the file it is written in, which goes into
    its data's: a score of another version of the class is computed again.
    """
    found = import_class(given.target, "_target_")
    if not (isinstance(found, type) and issubclass(found, AbsTask)):
        raise ValueError(
            f"_target_={given.target} is no task: it is {found!r}; a task is a class that inherits "
            f"from one of mteb.abstasks (AbsTaskSTS, AbsTaskRetrieval ...)"
        )
    if not isinstance(metadata := getattr(found, "metadata", None), TaskMetadata):
        raise ValueError(f"_target_={given.target} has no metadata; give it mteb's TaskMetadata")
    if metadata.name in list_task_names():
        raise ValueError(
            f"_target_={given.target} is called {metadata.name}, which is a task of mteb; "
            f"give its metadata another name"
        )
    if not WORD.fullmatch(metadata.name):
        raise ValueError(
            f"_target_={given.target} is called {metadata.name!r}; a name has letters, digits, _ "
            f"and - alone"
        )
    try:
        task: Any = found(**given.options)
    except TypeError as error:
        raise ValueError(f"_target_={given.target} cannot be made: {error}") from error
    task.own = {"name": metadata.name, "given": given.list_given()}
    task.own_code = digest_file_code(Path(inspect.getfile(found)))
    return task
