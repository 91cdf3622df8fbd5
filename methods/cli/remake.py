"""What `dec2vec rerun` does: a record's own config becomes a job again, and the two are compared.

A record states everything that was resolved: the method's fields, the model, adapters, tasks with
splits and subsets, the recipe. The job is built from these, not from the command, so that a changed
default does not change what is made again. The command is kept in the new record.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from methods.backbone.hardware import resolve_dtype
from methods.config.plugins import import_class, make_importable
from methods.config.resolve import EvaluationSpec, build_backbone_spec, compose
from methods.config.settings import TaskList
from methods.encoding.instructions import Instructions
from methods.evaluation.job import Job, TasksFailed
from methods.fields import build
from methods.identity import digest, digest_adapter_tensors
from methods.pooling_names import find_pooling
from methods.provenance import processor
from methods.records import read_json

# Points (scores x 100) that two runs of one cell may differ by. The last digits of float32 depend
# on processor, threads and batches. In half precision an untrained EOS moved most: 1.14 points from
# one processor and engine to another (e5_instruct on STSBenchmark, of 72 cells compared).
TOLERANCE = {"float32": 0.05, "half": 1.5}


@dataclass(frozen=True)
class Comparison:
    """Two runs of one record. lines: what differs, in words; agrees: whether the scores do."""

    lines: list[str]
    agrees: bool


def rerun(
    file: Path, *, overrides: Sequence[str] = (), runs: Path, config_dir: str | None = None
) -> Comparison:
    """Make a record again under `runs` and compare. Raises ValueError for what is not here."""
    old = read_json(file)
    if lacking := [key for key in ("command", "config", "versions") if key not in old]:
        raise ValueError(
            f"{file} is no record that can be made again: it lacks {', '.join(lacking)}"
        )
    changes = _changes(overrides)
    if folder := config_dir or old.get("config_dir"):
        make_importable(folder)
    runs = runs / digest([str(file.resolve()), list(overrides)])
    if file.name == "training.json":
        return _train_again(file, old, changes, runs, folder)
    return _evaluate_again(file, old, changes, runs, folder)


def _changes(overrides: Sequence[str]) -> DictConfig:
    valid = ("mirror", "adapter", "model", "kernel")
    for override in overrides:
        key = override.partition("=")[0]
        if "=" not in override or key.removeprefix("tasks.").split(".")[0] not in valid:
            raise ValueError(
                f"{override!r} cannot be changed in a rerun; valid: mirror=DIR, adapter=DIR, "
                f"model.KEY=VALUE (dtype, device, batch_tokens, source.path), kernel.KEY=VALUE"
            )
    return OmegaConf.from_dotlist([o.removeprefix("tasks.") for o in overrides])


def _evaluate_again(
    file: Path, old: Mapping[str, Any], changes: DictConfig, runs: Path, folder: str | None
) -> Comparison:
    cell = file.parent.parent
    parts = _scores(cell, old)
    if not parts:
        raise ValueError(f"{file} has no finished task, so there is nothing to make again")
    values = dict(old["method_config"])
    values["pooling"] = find_pooling(values["pooling"], folder)
    method = build(import_class(values.pop("class"), "method.class"), _tuples(values), key="method")
    adapters = _adapters(old, changes)
    spec = build_backbone_spec(_model(old, changes), adapter=adapters)
    instructions = build(Instructions, old["config"].get("instructions") or {})
    names = list(dict.fromkeys(task for task, _, _ in parts))
    tasks = TaskList(
        names=names,
        splits={name: list(dict.fromkeys(s for t, s, _ in parts if t == name)) for name in names},
        subsets=_subsets(parts),
        mirror=changes.get("mirror") or _recorded_mirror(old),
    )
    verb, *given = shlex.split(old["command"])[1:] or ["evaluate"]
    job = Job(
        evaluation=EvaluationSpec(old["method"], spec, [method], instructions),
        tasks=tasks,
        runs=runs,
        overrides=given,
        config=old["config"],
        verb=verb,
    )
    try:
        job.run()
    except TasksFailed as error:
        raise ValueError(str(error)) from error
    record = job.records[0]
    return _compare(old, record.read(), parts, _scores(record.path.parent.parent, record.read()))


def _train_again(
    file: Path, old: Mapping[str, Any], changes: DictConfig, runs: Path, folder: str | None
) -> Comparison:
    from methods.training.config import train_job

    config = _training_config(old["config"])
    config.model = _model(old, changes)
    config.adapter = changes.get("adapter") or sorted(map(str, file.parent.glob("below/*"))) or None
    config.out, config.evaluate = str(runs / file.parent.name), {"names": []}
    if "mirror" in changes:
        config.mirror = changes.mirror
    given = shlex.split(old["command"])[2:]
    given = given[2:] if given[:1] == ["--config-dir"] else given  # the job states its own
    name = old.get("name", "")
    job = train_job(config, title=old["title"], overrides=given, name=name, config_dir=folder)
    new = read_json(job.run() / "training.json")
    lines = _environment_lines(old, new)
    for source, about in old["data"]["sources"].items():
        now = new["data"]["sources"].get(source, {}).get("sha256")
        lines.append(_line(f"data {source}", about["sha256"], now))
    lines.append(_line("base weights", old["base"]["weights"], new["base"]["weights"]))
    lines.append(_line("steps", old["steps"], new["steps"]))
    limit = 1e-4 if _both_float32(old["base"]["dtype"], new["base"]["dtype"]) else 2e-2
    apart = abs(old["loss"] - new["loss"]) / max(abs(old["loss"]), 1e-12)
    agrees = apart <= limit and old["steps"] == new["steps"]
    lines.append(
        f"last loss: {old['loss']:.6g} then, {new['loss']:.6g} now, {100 * apart:.3g} % apart; "
        f"{'within' if agrees else 'MORE THAN'} the tolerance of {100 * limit:g} %"
    )
    lines.append(f"the adapter made again: {runs / file.parent.name}")
    return Comparison(lines, agrees)


def _training_config(recorded: Mapping[str, Any]) -> DictConfig:
    """Return a recorded training's config, with the keys that training has had since."""
    today: Any = OmegaConf.to_container(compose(["recipe=demo"], verb="train"), resolve=False)
    run = dict(recorded["run"])
    packed = run.pop("packed", True)  # renamed: kernel.packed
    config: Any = OmegaConf.create({**today, **recorded, "run": run})
    if packed is False:
        config.kernel.packed = False
    return config


def _model(old: Mapping[str, Any], changes: DictConfig) -> DictConfig:
    """Return the recorded model in the recorded dtype, with what is changed.

    Raises ValueError where the machine does not compute in that dtype.
    """
    switches = old["config"].get("kernel") or {}  # below the model's own, where records have both
    recorded = {("kernel" if key == "attention" else key): v for key, v in switches.items()}
    recorded |= old["config"]["model"]
    recorded.pop("adapters", None)  # records of schema 0 hold this key, which never had an effect
    dtype = str(old.get("dtype") or old["base"]["dtype"])
    four_bit = dtype.startswith("nf4_")
    recorded["dtype"] = dtype.removeprefix("nf4_")
    model: Any = OmegaConf.merge(recorded, changes.get("model") or {})
    for key, value in (changes.get("kernel") or {}).items():
        model["kernel" if key == "attention" else key] = value
    device = str(model.get("device", "auto"))
    usual = resolve_dtype("auto", device)
    if model.dtype in ("bfloat16", "float16") and usual == "float32" and not four_bit:
        raise ValueError(
            f"the record is in {model.dtype}, which this machine ({processor()}) has no units for; "
            f"give model.dtype=float32. Scores then agree to about {TOLERANCE['half']} points"
        )
    return model


def _adapters(old: Mapping[str, Any], changes: DictConfig) -> list[str]:
    """Return the recorded adapters, or those given; the comparison reports whether they differ."""
    given = changes.get("adapter") or old["adapters"]
    adapters = [given] if isinstance(given, str) else [str(path) for path in given]
    for adapter in adapters:
        if not Path(adapter).is_dir():
            raise ValueError(
                f"the record was made with the adapter {adapter}, which is not here; say where it "
                f"is (adapter=DIR), or train it again: {_trained_by(old)}"
            )
    return adapters


def _trained_by(old: Mapping[str, Any]) -> str:
    commands = [part["command"] for part in old.get("training", []) if "command" in part]
    return commands[-1] if commands else "the record does not say how it was trained"


def _recorded_mirror(old: Mapping[str, Any]) -> str | None:
    config = old["config"]
    return config.get("mirror") or (config.get("tasks") or {}).get("mirror")


def _subsets(parts: Iterable[tuple[str, str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task, _, subset in parts:
        if subset not in found.setdefault(task, []):
            found[task].append(subset)
    return {task: subsets for task, subsets in found.items() if subsets != ["default"]}


def _scores(cell: Path, record: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """(task, split, subset) -> main score x 100, of what a record says is scored.

    Own data stand under the name of the task whose place they take in the mirror.
    """
    found = {}
    for task, entry in record["tasks"].items():
        result = cell / f"{task}.json"
        if not result.is_file() or entry.get("status") not in ("done", "failed"):
            continue
        for split, scores in read_json(result)["scores"].items():
            for one in scores:
                if split in entry["splits"] and one["hf_subset"] in entry["subsets"]:
                    place = (entry.get("derived_from") or task, split, one["hf_subset"])
                    found[place] = 100 * one["main_score"]
    return found


def _compare(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    then: Mapping[tuple[str, str, str], float],
    now: Mapping[tuple[str, str, str], float],
) -> Comparison:
    lines = _environment_lines(old, new)
    lines.append(_line("weights", old["revision"], new["revision"]))
    lines.append(_line("dtype", old["dtype"], new["dtype"]))
    lines += _adapter_lines(old, new)
    for task, entry in new["tasks"].items():
        before = old["tasks"].get(task, {})
        for what in ("data", "code"):
            lines.append(_line(f"{what} of {task}", before.get(what), entry.get(what)))
    limit = TOLERANCE["float32" if _both_float32(old["dtype"], new["dtype"]) else "half"]
    lines += ["", f"{'task':28} {'split':12} {'subset':10} {'then':>8} {'now':>8} {'apart':>8}"]
    apart = {place: _apart(score, now[place]) for place, score in then.items() if place in now}
    for (task, split, subset), score in then.items():
        again = now.get((task, split, subset))
        shown = "missing" if again is None else f"{again:8.3f} {again - score:+8.3f}"
        lines.append(f"{task:28} {split:12} {subset:10} {score:8.3f} {shown}")
    agrees = len(apart) == len(then) and max(apart.values(), default=0) <= limit
    worst = max(apart.values(), default=float("nan"))
    lines.append(
        f"largest difference {worst:.4f} points; {'within' if agrees else 'MORE THAN'} the "
        f"tolerance of {limit} for {old['dtype']} against {new['dtype']}"
    )
    return Comparison(lines, agrees)


def _apart(then: float, now: float) -> float:
    """Points between two scores: none where both are no number, as a correlation can be."""
    if math.isnan(then) or math.isnan(now):
        return 0.0 if math.isnan(then) and math.isnan(now) else math.inf
    return abs(now - then)


def _environment_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = ("commit", "engine", "python", "machine", "processor")
    lines = [_line(name, _of_tasks(old, name), _of_tasks(new, name)) for name in names]
    for name in sorted({*old["versions"], *new["versions"]}):
        lines.append(_line(name, old["versions"].get(name), new["versions"].get(name)))
    return lines


def _of_tasks(record: Mapping[str, Any], name: str) -> Any:
    """Return a field of a record, or that of all its tasks together."""
    values = [record[name]] if name in record else []
    values = values or [e[name] for e in record.get("tasks", {}).values() if e.get(name)]
    return ", ".join(dict.fromkeys(map(str, values))) or None


def _adapter_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    then, now = old["backbone"]["adapters"], new["backbone"]["adapters"]
    if "schema" not in old:  # known by their tensors alone then
        now = [digest_adapter_tensors(folder) for folder in new["adapters"]] if then else now
    return [_line("adapters", then, now)] if then or now else []


def _line(what: str, then: Any, now: Any) -> str:
    if then is None:
        return f"{what}: not recorded then; {now} now"
    return f"{what}: same ({now})" if then == now else f"{what}: {then} then, {now} now"


def _both_float32(*dtypes: str) -> bool:
    return set(dtypes) == {"float32"}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
