"""The committed tables and figures are what `dec2vec report` makes of the committed records."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from analysis.report import report

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "runs" / "reference" / "report"
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    report([ROOT / "runs" / "reference"], out)
    return out


def pinned(package):
    return re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]


def test_the_committed_tables_are_rebuilt_byte_for_byte(rebuilt):
    committed = sorted(file.relative_to(COMMITTED) for file in COMMITTED.rglob("*.md"))
    assert len(committed) > 8
    for file in committed:
        assert (rebuilt / file).read_bytes() == (COMMITTED / file).read_bytes(), file


@pytest.mark.skipif(
    version("matplotlib") != pinned("matplotlib"), reason="another matplotlib draws other bytes"
)
def test_the_committed_figures_are_rebuilt_byte_for_byte(rebuilt):
    committed = sorted(file.relative_to(COMMITTED) for file in COMMITTED.rglob("*.png"))
    assert len(committed) > 4
    for file in committed:
        assert (rebuilt / file).read_bytes() == (COMMITTED / file).read_bytes(), file


def test_no_torch_and_no_method_is_loaded():
    code = (
        "import sys\n"
        "from analysis.report import REPORTS\n"
        "from analysis.section import load_view\n"
        "views = [load_view(name) for report in REPORTS.values() for name in report.views]\n"
        "heavy = {'torch', 'mteb', 'methods', 'transformers', 'hydra', 'sklearn', 'scipy.stats'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_tables_compile_in_a_bare_document(rebuilt, tmp_path):
    tables = sorted(rebuilt.rglob("*.tex"))
    assert len(tables) > 8
    text = DOCUMENT % "\\clearpage\n".join(table.read_text() for table in tables)
    (tmp_path / "all.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
