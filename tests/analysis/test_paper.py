"""dec2vec report RUNS --paper OUT: a folder that compiles, as its author wants it, from records."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.naming import Naming
from analysis.paper.facts import Facts, read_entries, read_facts
from analysis.paper.latex import allow_breaks, list_commands
from analysis.paper.settings import PaperSettings, read_settings
from analysis.paper.write import write_paper
from analysis.records.results import load_results
from analysis.render.table import Table
from analysis.report import make_sections
from analysis.view import Options
from tests.analysis.cells import cell, examples

ROOT = Path(__file__).parents[2]
SCORES = {"echo": (0.5, 0.7), "sgpt": (0.6, 0.4), "llm2vec": (0.1, 0.2)}
TRAINING = [
    {
        "folder": "mine_1",
        "weights": "sha256:1",
        "steps": 40,
        "seconds": 12.0,
        "tokens": 1000,
        "learning_rate": 0.0005,
        "best": None,
        "data": {
            "sources": {"pairs": {"rows": 9, "dropped": 1, "sha256": "aa"}},
            "overlap": {"STS12": {"texts": 4, "shared": 1, "examples": ["a"]}},
        },
    }
]


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    for method, (first, second) in SCORES.items():
        scores = {"STS12": ("STS", examples(20, first)), "STS13": ("STS", examples(20, second))}
        cell(root, method, scores)
    return root


def make(runs, out, **settings):
    write_paper([runs], out, PaperSettings(**settings), Options(samples=20))
    return pd.read_csv(out / "runs" / "tasks.csv", index_col=0)


def test_rows_are_named_and_ordered_in_tables_and_figures(runs, tmp_path):
    table = make(runs, tmp_path / "p", rename={"echo": "Echo"}, order=["sgpt", "Echo"])
    assert list(table.index) == ["sgpt", "Echo", "llm2vec"]
    appendix = (tmp_path / "p" / "appendix.tex").read_text()
    assert appendix.index("sgpt") < appendix.index("Echo") < appendix.index("llm2vec")


def test_figures_have_the_new_names_in_the_new_order(runs):
    naming = Naming({"echo": "Echo"}, ["sgpt"])
    [section] = make_sections(load_results([runs]), Options(samples=20, naming=naming))
    types = next(one for one in section.figures if one.name == "types")
    labels = [label.get_text() for label in types.figure.axes[0].get_yticklabels()]
    assert labels == ["sgpt", "Echo", "llm2vec"]


def test_the_best_of_a_task_stays_bold_when_tasks_are_rows(runs, tmp_path):
    make(runs, tmp_path / "p", transpose=["tasks"], digits=2)
    text = (tmp_path / "p" / "runs" / "tasks.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:1] == "|"}
    assert "**60.00**" in rows["STS12"] and "**70.00**" in rows["STS13"]
    turned = pd.read_csv(tmp_path / "p" / "runs" / "tasks.csv", index_col=0)
    assert turned.loc["STS13", "echo"] == "70.0" and list(turned.columns) == sorted(SCORES)


def test_a_table_of_many_rows_is_turned_only_by_its_name(tmp_path, caplog):
    root = tmp_path / "runs"
    for number in range(15):
        cell(root, f"m{number:02}", {"STS12": ("STS", 0.3), "STS13": ("STS", 0.4)})
    settings = read_settings(None, {"transpose": True})
    write_paper([root], tmp_path / "all", settings, Options(samples=20))
    assert "keeps its orientation: its 15 rows" in caplog.text
    assert len(make(root, tmp_path / "all")) == 15
    assert len(make(root, tmp_path / "one", transpose=["tasks"])) == 3  # two tasks, their mean


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rename": {"ecko": "Echo"}}, r"--rename: no row is named 'ecko'; valid: echo, llm2vec"),
        ({"order": ["sgpt", "x"]}, r"--order: no row is named 'x'; valid: echo, llm2vec, sgpt"),
        ({"rename": {"echo": "A", "sgpt": "A"}}, "'echo' and 'sgpt' would both be named 'A'"),
        ({"only": ["tusks"]}, "only: there is no tusks; valid: .*runs/tasks"),
        ({"captions": {"tusks": "x"}}, "captions: there is no tusks; valid: .*runs/tasks"),
        ({"transpose": ["tusks"]}, "transpose: there is no table tusks; valid: .*tasks"),
    ],
)
def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(
    settings, message, runs, tmp_path
):
    with pytest.raises(ValueError, match=message):
        make(runs, tmp_path / "p", **settings)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digitz: 2", "unknown: digitz; valid: title, rename"),
        ("digits: two", "digits is 'two'; it is a int"),
        ("digits: true", "digits is True; it is a int"),
        ("digits: 9", "digits is 9; it is a number from 0 to 6"),
        ("facts: {modelz: {}}", "facts has unknown modelz; valid: models"),
        ("- a", "holds list, not keys"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_papers_yaml_is_checked(text, message, tmp_path):
    (tmp_path / "paper.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_settings(tmp_path / "paper.yaml", {})


def test_the_command_line_wins_and_names_are_joined(tmp_path):
    (tmp_path / "paper.yaml").write_text("digits: 2\nrename: {echo: E, sgpt: S}\ntitle: Mine")
    given = {"digits": 3, "rename": {"echo": "Echo"}}
    settings = read_settings(tmp_path / "paper.yaml", given)
    assert settings == PaperSettings(title="Mine", digits=3, rename={"echo": "Echo", "sgpt": "S"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--digits", "2"], "--digits is for a paper; add --paper DIR"),
        (["--paper", "p", "--out", "o"], "give --out DIR or --paper DIR"),
        (["--paper", "p", "--rename", "echo"], "--rename is 'echo'; it is OLD=NEW"),
        (["--paper", "p", "--paper-config", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_options_without_effect_are_refused(words, message, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dec2vec report", str(runs), *words])
    with pytest.raises(SystemExit, match=message):
        main()


def test_what_no_record_holds_is_not_recorded(runs, tmp_path):
    cell(runs, "echo", {"STS12": ("STS", 0.9)}, adapters=["a/mine_1"], training=TRAINING)
    make(runs, tmp_path / "p")
    appendix = (tmp_path / "p" / "appendix.tex").read_text()
    training = "echo & not recorded & 40 & not recorded & 0.0005 & not recorded & 1,000 & 12"
    assert training in appendix.replace("\\allowbreak{}", "")
    checklist = (tmp_path / "p" / "checklist.tex").read_text().replace("\\allowbreak{}", "")
    answers = dict(re.findall(r"^(.+?) & (.+?) & ", checklist, re.MULTILINE))
    assert answers["Is the processor stated?"] == "not recorded"
    assert answers["Are all hyper-parameters of each training stated?"] == "not recorded"
    assert answers["Was training data compared with evaluation data?"] == "yes"
    assert answers["Was training repeated with several seeds?"] == "not recorded"
    assert answers["Do scores have intervals over examples?"] == "partly"
    assert answers["Was energy measured?"] == "no"


def test_an_authors_facts_go_before_those_of_the_files():
    facts = Facts({"tasks": {"Mine": {"licence": "mine"}, "STS12": {"licence": "asked"}}})
    assert facts.find("tasks", "Mine", "licence") == "mine"
    assert facts.find("tasks", "STS12", "licence") == "asked"
    assert facts.find("tasks", "STS12", "data") == "mteb/sts12-sts"
    assert facts.find("tasks", "Other", "licence") == "not recorded"


def test_the_facts_of_tasks_are_mtebs():
    import mteb

    for name, about in read_facts("tasks").items():
        metadata = mteb.get_task(name).metadata
        assert about["licence"] == (metadata.license or "not specified"), name
        assert about["data"] in (metadata.dataset["path"], "several"), name


# Models without a paper, and wordings of one's own.
WITHOUT_PAPER = {"harrier", "sfr_mistral", "prompt", "prompt_echo", "prompt_instruct"}


def test_every_method_has_its_paper_in_the_bibliography():
    entries = read_entries()
    for file in sorted((ROOT / "conf" / "method").glob("*.yaml")):
        if file.stem in WITHOUT_PAPER:
            continue
        module = re.search(r"^_target_: *methods\.(\w+)\.", file.read_text(), re.MULTILINE)[1]
        page = (ROOT / "methods" / f"{module}.py").read_text().split('"""')[1]
        entry = entries[file.stem]
        assert {"title", "author", "year", "eprint"} <= set(re.findall(r"^  (\w+) =", entry, re.M))
        number = re.search(r"arXiv\s+(\d{4}\.\d{5})", page)
        assert number is None or f"eprint = {{{number[1]}}}" in entry, file.stem


def test_every_model_of_conf_has_its_licence():
    named = {
        name
        for file in (ROOT / "conf" / "model").glob("*.yaml")
        for name in re.findall(r"^name: (\S+/\S+)$", file.read_text(), re.MULTILINE)
    }
    known = set(read_facts("models"))
    assert named - known == {"local/folder", "local/gguf", "dec2vec/tiny"}
    assert known <= named


def test_transposing_changes_no_number():
    values = pd.DataFrame({"a": [1.0, 2.0], "b": [4.0, 3.0]}, index=pd.Index(["x", "y"]))
    turned = Table("t", values, "c", transposed=True).to_markdown()
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in turned.splitlines()[:4]]
    assert cells[0] == ["", "x", "y"]
    assert cells[2] == ["a", "*1.0*", "**2.0**"] and cells[3] == ["b", "**4.0**", "*3.0*"]


def test_commands_are_wrapped_so_that_they_can_be_pasted():
    command = "dec2vec train 'data.x={a:b c}' " + " ".join(f"key.number={n}" for n in range(30))
    lines = list_commands([command]).splitlines()[1:-1]
    assert max(map(len, lines)) <= 103 and len(lines) > 3
    pasted = "\n".join(lines).replace("\\\n", "")  # as a shell joins lines
    assert shlex.split(pasted) == shlex.split(command)
    assert allow_breaks("a_b") == "a\\_\\allowbreak{}b"


@pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("bibtex")),
    reason="pdflatex and bibtex are not installed (Debian: texlive-latex-extra)",
)
def test_the_folder_compiles_alone(runs, tmp_path):
    cell(runs, "odd_%<b>&#{$~^", {"STS12": ("STS", 0.9), "STS13": ("STS", "failed")})
    trained = {"adapters": ["a/mine_1"], "training": TRAINING, "method_config": {"a_b": "x{}"}}
    cell(runs, "echo", {"STS12": ("STS", 0.9), "STS13": ("STS", 0.2)}, **trained)
    out = tmp_path / "p"
    make(runs, out, transpose=["tasks"], rename={"echo": "Écho & co"})

    def run(*words):
        done = subprocess.run(words, cwd=out, capture_output=True)
        return done.returncode, done.stdout.decode(errors="replace")

    latex = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main")
    for words in (latex, ("bibtex", "main"), latex, latex):
        code, output = run(*words)
        assert code == 0, output[-2000:]
    assert "undefined" not in (out / "main.log").read_text(errors="replace")
    assert (out / "main.pdf").stat().st_size > 20_000
