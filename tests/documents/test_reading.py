"""Documents into passages: each format's sections and places, and what is left out, by name."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from methods.documents.files import find_documents
from methods.documents.reading import make_cutter, read_passages, read_text

ROOT = Path(__file__).parents[2]
ENCRYPTED = (Path(__file__).parent / "fixtures" / "encrypted.pdf").read_bytes()
MARKDOWN = """---
title: front matter is no heading
---
Before any heading.

# A `tool`

Install it.

```bash
# no heading
run it
```

Setext heading
--------------

[Linked](a.md) text.

# Another tool
## Its [options](b.md)

Two of them.
"""
RST = """=====
Title
=====

.. contents::

First part
==========

Some text over
two lines
---------

Inner
-----

::

    Not a title
    ===========

Second :ref:`part <label>`
==========================

The end.
"""
POD = """=head1 NAME

tool - B<does> C<< a > b >>

=head2 How do I I<stop> it?

Use L<perlfunc/"die">, or E<gt>.

  # verbatim C<stays>

=over 4

=item * one

=back

=begin html

<b>unseen</b>

=end html

=cut

code();

=head1 X<index>SEE ALSO

L<the manual|perl>
"""
PYTHON = '''"""Module text."""


class Shape:
    """A shape."""

    def area(self):
        """Return the area.

            indented

        As a shape.
        """

    def silent(self):
        return 1
'''
HTML = b"""<html><head><title>The page</title><script>x = 1</script></head><body>
<nav>menu</nav><main><h2>Eggs</h2><p>Boil <b>six</b> minutes.</p><ul><li>salt</li></ul></main>
<footer>imprint</footer></body></html>"""


def make_pdf(*pages):
    """A PDF of lines of text, with an outline entry for its second page."""
    parts = ["<< /Type /Catalog /Pages 2 0 R /Outlines 3 0 R >>"]
    kids = " ".join(f"{6 + 2 * n} 0 R" for n in range(len(pages)))
    parts.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    parts.append("<< /Type /Outlines /First 4 0 R /Last 4 0 R /Count 1 >>")
    parts.append("<< /Title (Second part) /Parent 3 0 R /Dest [8 0 R /Fit] >>")
    parts.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for n, text in enumerate(pages):
        font = "/Resources << /Font << /F1 5 0 R >> >> /MediaBox [0 0 600 600]"
        parts.append(f"<< /Type /Page /Parent 2 0 R {font} /Contents {7 + 2 * n} 0 R >>")
        shown = f"BT /F1 12 Tf 20 500 Td ({text}) Tj ET"
        parts.append(f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream")
    body = "".join(f"{n} 0 obj\n{part}\nendobj\n" for n, part in enumerate(parts, 1))
    return f"%PDF-1.4\n{body}trailer << /Root 1 0 R /Size {len(parts) + 1} >>\n%%EOF\n".encode()


def read(text, kind):
    found = read_text(text if isinstance(text, bytes) else text.encode(), kind)
    shown = [(s.headings, found.text[s.start : s.end].strip()) for s in found.sections]
    return [(headings, text) for headings, text in shown]


def test_markdown_has_the_sections_of_its_headings():
    assert read(MARKDOWN, "markdown") == [
        ((), MARKDOWN[: MARKDOWN.index("# A")].strip()),
        (("A tool",), "Install it.\n\n```bash\n# no heading\nrun it\n```"),
        (("A tool", "Setext heading"), "[Linked](a.md) text."),
        (("Another tool", "Its options"), "Two of them."),
    ]


def test_rst_has_the_sections_of_its_titles():
    assert [headings for headings, _ in read(RST, "rst")] == [
        ("Title", "First part"),
        ("Title", "First part", "Inner"),
        ("Title", "Second part"),
    ]
    assert read(RST, "rst")[1][1] == "::\n\n    Not a title\n    ==========="


def test_pod_loses_its_commands_and_codes():
    assert read(POD, "pod") == [
        (("NAME",), "tool - does a > b"),
        (
            ("NAME", "How do I stop it?"),
            "Use perlfunc die, or >.\n\n  # verbatim C<stays>\n\n* one",
        ),
        (("SEE ALSO",), "the manual"),
    ]


def test_a_source_has_a_section_for_each_docstring():
    assert read(PYTHON, "python") == [
        ((), "Module text."),
        (("Shape",), "A shape."),
        (("Shape", "area"), "Return the area.\n\n    indented\n\nAs a shape."),
    ]


def test_html_is_read_without_what_is_around_its_content():
    assert read(HTML, "html") == [(("The page", "Eggs"), "Boil **six** minutes.\n\n* salt")]
    assert read(b'<?xml version="1.0"?>\n<html><body><p>a</p></body></html>', "html")
    assert read("<p>caf\xe9</p>".encode("latin-1"), "html") == [((), "café")]


def test_a_pdf_has_a_section_for_each_page():
    assert read(make_pdf("One page.", "Another (page)"), "pdf") == [
        (("page 1",), "One page."),
        (("Second part", "page 2"), "Another (page)"),
    ]


def write_folder(folder):
    (folder / "deep").mkdir(parents=True)
    files = {
        "a.md": MARKDOWN,
        "b.rst": RST,
        "deep/c.pod": POD,
        "d.py": PYTHON,
        "e.txt": "One. " * 300,
        "deep/f.html": HTML.decode(),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "g.pdf").write_bytes(make_pdf("One page.", "Another"))
    return files


def test_passages_know_their_place(tmp_path):
    files = write_folder(tmp_path)
    reading = read_passages(tmp_path, max_tokens=40)
    assert not reading.skipped
    assert {p.file for p in reading.passages} == {*files, "g.pdf"}
    for passage in reading.passages:
        assert passage.end - passage.start == len(passage.text) and passage.text.strip()
        if passage.file in ("a.md", "b.rst", "e.txt"):
            assert files[passage.file][passage.start : passage.end] == passage.text
    parts = [p for p in reading.passages if p.file == "e.txt"]
    assert len(parts) == 10 and all(len(p.text) <= 160 for p in parts)


def test_ids_stay_while_name_section_and_text_do(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "e.txt").write_text("The same.\n\n" * 40)
    before = {p.id: p for p in read_passages(tmp_path, max_tokens=8).passages}
    again = read_passages(tmp_path, max_tokens=8).passages
    assert [p.id for p in again] == list(before) and len(set(before)) == len(again)
    (tmp_path / "a.md").write_text("A new line.\n\n" + MARKDOWN)
    after = {p.id for p in read_passages(tmp_path, max_tokens=8).passages}
    changed = [before[lost] for lost in before.keys() - after]
    assert {p.file for p in changed} == {"a.md"} and {p.section for p in changed} == {()}


def test_passages_hold_no_more_tokens_than_asked_for(encoder):
    tokenizer = encoder("sgpt").backbone.tokenizer
    reading = read_passages(ROOT / "README.md", max_tokens=60, tokenizer=tokenizer)
    sizes = [len(tokenizer(p.text, add_special_tokens=False).input_ids) for p in reading.passages]
    assert max(sizes) <= 60 and sum(sizes) / len(sizes) > 30
    with pytest.raises(ValueError, match="max_tokens is 3; a passage has at least 8"):
        make_cutter(3)


def test_what_cannot_be_read_is_named(tmp_path):
    broken = {
        "binary.txt": (b"ab\0cd", "binary: it has zero bytes"),
        "empty.md": (b"", "empty"),
        "blank.txt": (b" \n", "empty"),
        "titles.md": (b"# One\n# Two\n", "headings without any text"),
        "latin.txt": ("caf\xe9".encode("latin-1"), r"not UTF-8 \(byte 0xe9 at 3\); convert it"),
        "locked.pdf": (ENCRYPTED, "encrypted; save it without a password"),
        "cut.pdf": (ENCRYPTED[:200], "a broken PDF: "),
        "scan.pdf": (make_pdf(""), "1 pages without text, such as scans"),
        "zipped.pdf": (gzip.compress(make_pdf("a")), "a broken PDF: "),
        "two.py": (b"print 'a'", "no Python that this interpreter reads: "),
        "bare.py": (b"x = 1\n", "a source without docstrings"),
        "deep.html": (b"<div>" * 5000 + b"a", "nested too deeply"),
        "large.txt": (b"a word " * 4000, r"0 MiB, above the limit of 0 MiB; split it"),
    }
    for name, (data, _) in broken.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "utf16.txt").write_text("A text.", encoding="utf-16")
    (tmp_path / "link.md").symlink_to(tmp_path / "nowhere.md")
    os.mkfifo(tmp_path / "pipe.txt")
    for name in (".hidden.md", "photo.jpeg", "other.JPEG", "Makefile"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "inner.md").write_text("unseen")
    reading = read_passages(tmp_path, max_bytes=27_000)
    reasons = {one.file: one.reason for one in reading.skipped}
    assert reasons.pop("link.md") == "a link that leads nowhere"
    assert reasons.pop("pipe.txt") == "no regular file"
    assert sorted(reasons) == sorted(broken)
    for name, (_, reason) in broken.items():
        assert re.match(reason, reasons[name]), reasons[name]
    assert [p.text for p in reading.passages] == ["A text."]
    assert reading.found.hidden == 2 and reading.found.unknown == {".jpeg": 2, "no suffix": 1}


def test_a_pattern_chooses_files(tmp_path):
    write_folder(tmp_path)
    assert list(find_documents(tmp_path, include="*.p*").files) == ["d.py", "g.pdf", "deep/c.pod"]
    assert list(find_documents(tmp_path, include="deep/*").files) == ["deep/c.pod", "deep/f.html"]
    assert find_documents(tmp_path, include="*.md").left_out == 6


def test_a_place_that_is_none_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="is neither a folder nor a file"):
        read_passages(tmp_path / "nowhere")
    (tmp_path / "a.xyz").write_text("a")
    with pytest.raises(ValueError, match=r"a.xyz has no suffix that is read; valid: .txt, .text"):
        read_passages(tmp_path / "a.xyz")
    (tmp_path / "b.md").write_text("# One\nText")
    assert [p.file for p in read_passages(tmp_path / "b.md").passages] == ["b.md"]


def test_a_large_text_is_skipped_without_being_read(tmp_path):
    with (tmp_path / "large.txt").open("wb") as stream:
        for _ in range(200):
            stream.write(b"some words " * 95_325)  # a MiB
    code = (
        "import resource, sys; from methods.documents.reading import read_passages\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "skipped = read_passages(sys.argv[1]).skipped\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(skipped[0].reason, grown < 30_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "200 MiB, above the limit of 16 MiB; split it True\n", done.stderr
