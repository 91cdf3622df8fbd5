"""Other people's results -> rows: folders of mteb's result files without a record of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.records.mteb_files import Unreadable, is_result, read_json, read_result

log = logging.getLogger(__name__)


def find_foreign(root: Path) -> list[Path]:
    """Return the folders under a root that hold results of mteb and no record of ours.

    Older generations of mteb wrote no model_meta.json: there, a result file marks the folder.
    """
    found: dict[Path, bool] = {}
    for file in sorted(root.rglob("*.json")):
        folder = file.parent
        if found.get(folder) or folder.name == "record" or _is_ours(folder):
            continue
        found[folder] = file.name == "model_meta.json" or _is_result_file(file)
    return [folder for folder, has in found.items() if has]


def read_foreign(folder: Path, unread: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a folder; a file that cannot be read is added to `unread`, with why."""
    name, revision = _name_model(folder, unread)
    about = {
        "source": "mteb",
        "reports": "",
        "model": name,
        "revision": revision,
        "adapters": "",
        "method": name.split("/")[-1],
        "options": "",
        "default": False,
        "status": "done",
        "folder": str(folder),
    }
    for file in sorted(folder.glob("*.json")):
        if file.name != "model_meta.json":
            try:
                rows = read_result(file, read_json(file))
            except Unreadable as error:
                unread.append(f"{file} is not read: {error}")
                continue
            yield from ({**about, **row} for row in rows)


def _is_ours(folder: Path) -> bool:
    return (folder / "record" / "run.json").exists()


def _is_result_file(file: Path) -> bool:
    try:
        return is_result(read_json(file))
    except Unreadable:  # the folder holds no results: nothing to report
        return False


def _name_model(folder: Path, unread: list[str]) -> tuple[str, Any]:
    """Return a model's name and revision: of model_meta.json, or of ORG__MODEL/REVISION."""
    meta = folder / "model_meta.json"
    if meta.exists():
        try:
            stated = read_json(meta)
            if isinstance(stated, dict) and stated.get("name"):
                return str(stated["name"]), stated.get("revision")
            reason = "it names no model"
        except Unreadable as error:
            reason = str(error)
        unread.append(f"{meta} is not read: {reason}; the model is named by its folder")
    if "__" not in folder.name and "__" in folder.parent.name:
        return folder.parent.name.replace("__", "/"), folder.name
    return folder.name.replace("__", "/"), None
