"""The READMEs' tables and figures are what its command makes of the committed records."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from analysis.agreement import measure_agreement
from analysis.comparison import compare
from analysis.records.results import load_results
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


READMES = sorted(
    file for file in ROOT.rglob("README.md") if ".venv" not in file.relative_to(ROOT).parts
)


def test_the_readmes_show_the_committed_report():
    shown = [
        part
        for readme in READMES
        for part in re.findall(
            r"<!-- (runs/reference/report/\S+\.md) -->\n(.+?)<!-- -->", readme.read_text(), re.S
        )
    ]
    assert len(shown) >= 6
    for file, text in shown:
        table = (ROOT / file).read_text().split("\n\n")[0]
        assert text.strip() == table.strip(), f"{file} is not what a README shows"


def test_the_studies_show_what_the_small_demo_keeps_of_the_larger_ones_order():
    reference = ROOT / "runs" / "reference"
    full, small = (compare(load_results([reference / name])) for name in ("demo_full", "demo"))
    table = measure_agreement(full, small)[0].to_markdown(disable_numparse=True)
    assert f"<!-- analysis.agreement -->\n\n{table}\n\n<!-- -->" in (
        reference / "README.md"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("readme", READMES, ids=lambda file: str(file.relative_to(ROOT).parent))
def test_a_readmes_links_lead_somewhere(readme):
    for link in re.findall(r"\]\(([^)\s]+)\)", readme.read_text()):
        if "://" not in link and not link.startswith("#"):
            assert (readme.parent / link.partition("#")[0]).exists(), link


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


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
