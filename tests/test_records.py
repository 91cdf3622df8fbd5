"""Committed records: each is of the schema, and is what its own command asks for at its commit."""

import io
import json
import re
import shlex
import subprocess
import tarfile
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from methods.config.settings import drop_estimate
from methods.records import SCHEMA, CellRecord, PartRecord, TaskRecord, TrainingRecord, read_json

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "runs" / "reference"
RECORDS = sorted([*REFERENCE.rglob("run.json"), *REFERENCE.rglob("training.json")])

# Folders of runs/reference whose records were written before records had a schema number. They are
# read as schema 0 and never rewritten; a folder leaves the list when its experiment is run again.
OLDER = "written before the schema was numbered"
SCHEMA_0 = {
    "attention_x_pooling": OLDER,
    "demo_full": OLDER,
    "fair_supervised": OLDER,
    "layers": OLDER,
    "main_table": f"{OLDER}, and before records named their reports",
    "pooling_and_attention": OLDER,
    "templates": OLDER,
    "trained": OLDER,
}


def experiment_of(file):
    return file.relative_to(REFERENCE).parts[0]


@pytest.mark.parametrize("experiment", sorted({experiment_of(file) for file in RECORDS}))
def test_a_committed_record_is_of_the_schema(experiment):
    files = [file for file in RECORDS if experiment_of(file) == experiment]
    records = [read_json(file) for file in files]
    versions = {record.get("schema", 0) for record in records}
    if experiment in SCHEMA_0:
        assert versions == {0}, f"{experiment} was made again: take it off the list SCHEMA_0"
        return
    assert versions == {SCHEMA}
    for file, record in zip(files, records, strict=True):
        kind = TrainingRecord if file.name == "training.json" else CellRecord
        assert kind.from_json(record).to_json() == record, file


def test_the_list_of_older_records_names_only_what_is_there():
    assert set(SCHEMA_0) <= {experiment_of(file) for file in RECORDS}


def test_a_committed_record_was_made_with_committed_code_for_the_report_it_asked_for():
    for file in RECORDS:
        record = read_json(file)
        assert record["dirty"] is False, file
        asked = record["config"].get("report")
        assert set(record.get("reports", [])) <= {asked}, file


@pytest.fixture(scope="module")
def conf_at(tmp_path_factory):
    """commit -> the folder conf/ as it was then."""

    @cache
    def folder(commit):
        git = ["git", "-C", str(ROOT)]
        if subprocess.run([*git, "cat-file", "-e", commit], capture_output=True).returncode:
            pytest.skip(f"this clone has no history back to {commit}")
        archive = subprocess.run([*git, "archive", commit, "conf"], capture_output=True, check=True)
        out = tmp_path_factory.mktemp(commit)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(out, filter="data")
        return out / "conf"

    return folder


def test_a_committed_records_command_gives_its_config_at_its_commit(conf_at):
    @cache
    def configs(commit, command):
        verb, *words = shlex.split(command)[1:]
        with initialize_config_dir(str(conf_at(commit)), version_base="1.3"):
            config = compose(verb, words)
        values = [OmegaConf.to_container(config, resolve=resolve) for resolve in (True, False)]
        return [drop_estimate(config) for config in values]  # a record holds no wish for estimates

    assert RECORDS
    for file in RECORDS:
        record = read_json(file)
        assert record["config"] in configs(record["commit"], record["command"]), file


def test_a_record_that_lacks_a_field_or_has_one_too_many_is_refused():
    part = {"data": "1", "code": "2"}
    assert PartRecord.from_json(part).to_json()["data"] == "1"
    with pytest.raises(ValueError, match="unknown: dada"):
        PartRecord.from_json({**part, "dada": "1"})
    with pytest.raises(ValueError, match="lacking: .*code"):
        PartRecord.from_json({"data": "1"})
    with pytest.raises(ValueError, match="unknown: scroe"):
        TaskRecord.from_json({"status": "done", "parts": {}, "scroe": 1})


def test_a_record_of_a_later_schema_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": SCHEMA + 1, "commit": "abc"}))
    with pytest.raises(ValueError, match=f"schema {SCHEMA + 1}.*knows up to {SCHEMA}.*abc"):
        read_json(tmp_path / "run.json")


def test_runs_readme_explains_every_field_of_a_task():
    text = (ROOT / "runs" / "README.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert explained == {field.name for field in fields(TaskRecord)}
