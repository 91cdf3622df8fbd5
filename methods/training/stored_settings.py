"""Write a training's settings into its folder, and refuse to resume from other settings.

asked.json has two parts. `decides`: what is learnt depends on it (method, recipe, model, how the
data is read and what it holds, seed, what chooses the best checkpoint). `may_differ`: speed, memory
and what is written. A folder that holds something learnt is resumed, or found finished, only with
the same `decides`; a difference in `may_differ` is logged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.backbone.loader import identify_backbone
from methods.pooling_names import identify_pooling
from methods.records import read_json, write_atomically
from methods.training.objective import digest_own_code
from methods.training.trainer import find_last_checkpoint

if TYPE_CHECKING:
    from methods.training.job import TrainJob

log = logging.getLogger(__name__)
FILE = "asked.json"
TRAINED = "training.json"
# What a folder made by something else may hold, which must not be overwritten.
FOREIGN = ("adapter_config.json", "adapter_model.safetensors", "model.safetensors", "config.json")
NOTHING = "nothing"


def describe_settings(job: TrainJob) -> dict[str, Any]:
    """Return both parts of asked.json, as JSON gives them back."""
    method, data = job.method, job.data
    learnt, ran = job.recipe.describe(), asdict(job.run_options)
    sources = {name: asdict(source) for name, source in data.sources.items()}
    free: dict[str, Any] = {"recipe": {"mini_batch": learnt.pop("mini_batch")}}
    paths: dict[str, Any] = {}
    for name, source in data.sources.items():
        paths[name] = {"path": sources[name].pop("path")}  # what it holds counts
        sources[name]["files"] = source.digest()
    free["data"] = {"compare_with": data.compare_with, "sources": paths}
    validate = ran.pop("validate")
    decides: dict[str, Any] = {"seed": ran.pop("seed"), "validate": validate}
    if validate is not None:  # the best of the checkpoints is kept
        decides["every"] = ran.pop("every")
        free["mirror"] = validate.pop("mirror")
        if not validate["own"]:
            del validate["own"]
        elif job.run_options.validate is not None:
            own = job.run_options.validate.own
            validate["own"] = [one.list_given() | {"files": one.digest()} for one in own]
    code = digest_own_code(job.objective)
    settings = {
        "decides": {
            "method": {"class": f"{type(method).__module__}.{type(method).__qualname__}"}
            | asdict(method)
            | {"pooling": identify_pooling(method.pooling)},
            "recipe": learnt,
            "data": {"bad_rows": data.bad_rows, "sources": sources},
            "model": identify_backbone(replace(job.spec, four_bit=job.four_bit)),
            "run": decides,
        }
        | ({"objective": {"code": code}} if code else {}),
        "may_differ": free | {"run": ran},
    }
    return json.loads(json.dumps(settings, default=str))


def refuse_other_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError if the folder holds what another training learnt, naming what differs.

    Parts that one side lacks are not compared: rows are known only once the data are loaded.
    """
    finished = (folder / TRAINED).is_file()
    begun = find_last_checkpoint(folder / "checkpoints", clean=False)
    there = _read_record(folder, settings) if finished else None
    if (folder / FILE).is_file():
        there = read_json(folder / FILE)
        if not isinstance(there.get("decides"), Mapping):
            raise ValueError(
                f"{folder / FILE} states no settings, so it is unknown what the folder holds; "
                f"give another out=DIR, or remove the folder"
            )
    if finished and not [*folder.glob("*model*.safetensors")]:
        raise ValueError(
            f"{folder} is a finished training without its weights (*model*.safetensors); put them "
            f"back, or remove the folder to train again"
        )
    if there is None:
        _refuse_unknown(folder, begun)
        return
    if not finished and begun is None:
        return  # nothing was learnt that could be taken over
    parts = settings["decides"].keys() & there["decides"].keys()
    if found := list(_find_differences(there["decides"], settings["decides"], parts)):
        state = "is a finished training" if finished else f"holds {begun.name if begun else ''}"
        raise ValueError(
            f"{folder} {state} with other settings: {'; '.join(found[:8])}"
            f"{f'; and {len(found) - 8} more' if len(found) > 8 else ''}. Give another out=DIR, "
            f"ask for the settings that it has, or remove the folder"
        )
    free = settings["may_differ"].keys() & there.get("may_differ", {}).keys()
    for difference in _find_differences(there.get("may_differ", {}), settings["may_differ"], free):
        log.info("%s: %s; the same is learnt", folder, difference)


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write asked.json, before a step is taken."""
    write_atomically(folder / FILE, json.dumps(settings, indent=2) + "\n")


def _refuse_unknown(folder: Path, begun: Path | None) -> None:
    if begun is not None:
        raise ValueError(
            f"{folder} holds {begun.name} of a training that did not state its settings (it lacks "
            f"{FILE}); give another out=DIR, or remove {folder / 'checkpoints'}"
        )
    if found := [name for name in FOREIGN if (folder / name).exists()]:
        raise ValueError(
            f"{folder} holds {', '.join(found)} of something else, which training would "
            f"overwrite; give another out=DIR"
        )


def _read_record(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in training.json of a folder without asked.json; those it lacks are
    taken from `settings`."""
    record = read_json(folder / TRAINED)
    seed = record.get("config", {}).get("run", {}).get("seed")
    stated = {
        "method": record.get("method", {}),
        "recipe": record.get("recipe", {}),
        "model": record.get("base", {}) | {"adapters": record.get("below", [])},
        "run": {} if seed is None else {"seed": seed},
    }
    if settings["decides"]["method"]["layer"] < 0:
        stated["method"].pop("layer", None)  # the record has it resolved
    decides = settings["decides"]
    return {"decides": {part: _fill_in(own, decides[part]) for part, own in stated.items()}}


def _fill_in(stated: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: stated.get(key, value) for key, value in settings.items()}


def _find_differences(
    there: Mapping[str, Any], settings: Mapping[str, Any], keys: Any, above: str = ""
) -> Iterator[str]:
    for key in sorted(keys):
        one, other = there.get(key, NOTHING), settings.get(key, NOTHING)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _find_differences(one, other, one.keys() | other.keys(), f"{above}{key}.")
        elif one != other:
            yield f"{above}{key} is {_format(one)} there, {_format(other)} requested"


def _format(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
