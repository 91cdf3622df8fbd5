"""Score encoders on mteb's tasks and on a user's own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

__all__ = ["own_task"]


def own_task(
    path: "str | os.PathLike[str]",
    *,
    kind: str | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    scale: Sequence[float] | None = None,
    instruction: str | None = None,
    split: str | None = None,
) -> Any:
    """Make an mteb task of a file or a folder, as `tasks.own=[...]` of the command line does.

    path: csv, tsv, jsonl, json or parquet; a folder with a file for each split; a BEIR folder;
        LlamaIndex' JSON.
    kind: sts, pair_classification, classification, clustering or retrieval, where the columns fit
        several. name: the file's by default; a digest of the data is added to it.
    columns: our name of a column -> the file's. scale: lowest and highest score of sts.
    instruction: for methods that use one; of retrieval, the queries'.
    split: what the rows of a file without splits are called; `test` by default.
    Raises ValueError, naming file and line, for data that cannot be evaluated.

    >>> encoder = load_encoder("echo", model="smollm2_135m")            # doctest: +SKIP
    >>> results = mteb.evaluate(encoder, own_task("pairs.csv"))         # doctest: +SKIP
    """
    from methods.config.own_tasks import build_own_task  # here, so that the room is light
    from methods.evaluation.own_tasks.make import make_own_task

    given = {"kind": kind, "name": name, "columns": columns, "scale": scale, "split": split}
    about = {"path": str(path), **given, "instruction": instruction}
    return make_own_task(build_own_task(about, key="own_task"))
