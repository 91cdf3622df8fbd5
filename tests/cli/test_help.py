"""Help explains itself, and what reads no model imports none."""

import subprocess
import sys
from pathlib import Path

import pytest

from methods.cli import VERBS, manual

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mteb", "transformers")


def light(*words: str, cwd: Path) -> str:
    """What a command prints, in a process that fails if something heavy was imported."""
    code = (
        "import sys\nfrom methods.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        text=True,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", list(VERBS)),
        ("--help", list(VERBS)),
        ("--version", ["dec2vec 0.", "commit"]),
        ("evaluate --help", ["method=NAME", "llm2vec", "tasks.names=[", "layer=", "Examples"]),
        ("evaluate -m method=echo -h", ["method=NAME"]),
        (
            "train --help",
            ["recipe=NAME", "sgpt_nli_demo", "recipe.learning_rate=1e-4", "data=NAME"],
        ),
        (
            "export --help",
            ["out=???", "modules=auto", "format=adapter", "task=null", "method=NAME"],
        ),
        ("report --help", ["--common", "for instance: dec2vec report"]),
        ("compare --help", ["A and B are each", "texts=FILE", "Exit status: 0"]),
        ("cache --help", ["info", "clear", "--folder"]),
        ("methods --help", ["--config-dir"]),
        ("methods", ["arXiv 2402.15449", "sgpt", "SGPT"]),
    ],
)
def test_help_says_what_there_is_and_imports_nothing_heavy(line, message, tmp_path):
    output = light(*line.split(), cwd=tmp_path)
    assert not [word for word in message if word not in output]


def test_report_and_cache_import_nothing_heavy(tmp_path):
    from methods.encoding.store import open_cache

    open_cache(tmp_path / "cache", 1 << 20)
    assert ": 0 vectors" in light("cache", "info", "--folder", "cache", cwd=tmp_path)
    sts = str(ROOT / "runs" / "reference" / "sts")
    assert "STS avg" in light("report", sts, "--out", "out", "--samples", "9", cwd=tmp_path)


@pytest.mark.parametrize("verb", ["evaluate", "train", "encode", "synthesize", "export"])
def test_the_page_of_a_verb_has_every_key_and_three_examples(verb):
    from methods.cli.mistakes import iterate_keys
    from methods.config.names import list_groups

    page = manual.describe_verb(verb, VERBS[verb])
    assert page.count(f"\n   dec2vec {verb} ") >= 3
    own = [key for key in iterate_keys(verb) if key.split(".")[0] not in list_groups(verb)]
    inline = ("recipe.",)  # a mapping in one line is shown as one
    assert not [
        k
        for k in own
        if f"{k}=" not in page
        and f"{k}.*" not in page
        and k[:7] not in inline
        and not any(other.startswith(f"{k}.") for other in own)
    ]


def test_a_method_that_cannot_be_parsed_is_named(tmp_path):
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "lost.yaml").write_text("_target_: nowhere.Lost\n")
    output = light("methods", "--config-dir", "mine", cwd=tmp_path)
    assert "nowhere.Lost, and there is no module nowhere" in output and "SGPT" in output


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_that_wait_sleep_soon_unless_the_user_says_how(given, spins, tmp_path):
    code = "import os, sys\nfrom methods.cli import main\nmain()\n"
    code += "assert 'torch' not in sys.modules, 'OpenMP would have read it before'\n"
    code += "print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **given},
    )
    assert done.stdout.splitlines()[-1] == spins, done.stderr
