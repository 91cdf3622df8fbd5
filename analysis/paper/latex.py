"""Write the LaTeX of an appendix: grids of text, lists, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from analysis.render.table import escape

MAIN = r"""\documentclass[a4paper,10pt]{article}
\usepackage[T1]{fontenc}
\usepackage{mathptmx,courier}
\usepackage[margin=2.4cm]{geometry}
\usepackage{booktabs,longtable,array,graphicx,adjustbox}
\usepackage[round]{natbib}
\usepackage[hidelinks]{hyperref}
\newcolumntype{L}[1]{>{\raggedright\arraybackslash}p{#1}}
\setlength{\emergencystretch}{3em}
\setlength{\LTcapwidth}{\textwidth}
\renewcommand{\floatpagefraction}{0.75}
\renewcommand{\topfraction}{0.9}
\title{%(title)s}
\author{}
\date{}
\begin{document}
\maketitle
%(body)s
\bibliographystyle{plainnat}
\bibliography{methods}
\clearpage
\appendix
\input{appendix}
\input{checklist}
\end{document}
"""


def make_grid(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, columns: str
) -> str:
    """Return a table of text that may span pages. Cells are LaTeX already; columns: like `lL{4cm}r`
    (L: ragged text of that width). Nothing where there is no row."""
    if not rows:
        return ""
    head = " & ".join(f"\\textbf{{{escape(one)}}}" for one in heads) + r" \\"
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    return (
        "{\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
        f"\\begin{{longtable}}{{@{{}}{columns}@{{}}}}\n\\caption{{{caption}}}\\\\\n"
        f"\\toprule\n{head}\n\\midrule\n\\endfirsthead\n"
        f"\\toprule\n{head}\n\\midrule\n\\endhead\n"
        f"\\bottomrule\n\\endfoot\n{body}\n\\end{{longtable}}}}\n"
    )


def allow_breaks(text: str) -> str:
    """Return text for LaTeX that may be broken: after / _ - + = , : and within long words."""
    words = re.findall(r"[^/_\-+=,:]*[/_\-+=,:]|[^/_\-+=,:]+", text)
    parts = [part for word in words for part in _cut_long_words(word)]
    return "\\allowbreak{}".join(escape(part) for part in parts)


def _cut_long_words(text: str) -> list[str]:
    """Return a text, cut every eight characters where it is one long word (a digest)."""
    return re.findall(".{1,8}", text) if re.fullmatch(r"\w{16,}", text) else [text]


def set_code(text: str) -> str:
    """Return text in a typewriter face that may be broken."""
    return f"\\texttt{{{allow_breaks(text)}}}"


def list_commands(commands: Sequence[str], width: int = 100) -> str:
    """Return shell commands, wrapped with backslashes so that they can be pasted."""
    lines = "\n".join(_wrap_command(command, width) for command in commands)
    return f"{{\\scriptsize\\begin{{verbatim}}\n{lines}\n\\end{{verbatim}}}}\n"


def _wrap_command(command: str, width: int) -> str:
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:  # a quote never closes: shown as it was recorded
        return command
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def fit_width(table: str) -> str:
    """Return a LaTeX table whose tabular is made smaller where it is wider or higher than a page,
    and stands where LaTeX has room."""
    table = re.sub(r"\\begin\{table(\*?)\}(\[\w+\])?", r"\\begin{table\1}[htbp]", table)
    box = "\\begin{adjustbox}{max width=\\linewidth, max totalheight=0.82\\textheight}\n"
    table = table.replace("\\begin{tabular}", f"{box}\\begin{{tabular}}")
    return table.replace("\\end{tabular}", "\\end{tabular}\n\\end{adjustbox}")


def include_figure(file: str, caption: str, label: str) -> str:
    """Return a figure that fits the text."""
    return (
        "\\begin{figure}[tbp]\n\\centering\n"
        f"\\adjustbox{{max width=\\linewidth, max totalheight=0.6\\textheight}}"
        f"{{\\includegraphics{{{file}}}}}\n"
        f"\\caption{{{escape(caption)}}}\n\\label{{fig:{label}}}\n\\end{{figure}}\n"
    )
