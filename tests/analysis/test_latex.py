"""Every table compiles in a bare LaTeX document."""

import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.report import report

ROOT = Path(__file__).parents[2]
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_reference_tables_compile(tmp_path):
    report([ROOT / "runs" / "reference"], tmp_path, samples=50)
    tables = sorted(tmp_path.rglob("*.tex"))
    assert len(tables) > 5
    text = DOCUMENT % "\\clearpage\n".join(table.read_text() for table in tables)
    (tmp_path / "all.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
