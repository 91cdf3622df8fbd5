"""The FAQs of the demonstration are fetched, or it is said why not."""

from pathlib import Path

import pytest

from tests.documents import faqs


def test_without_apt_the_pods_of_an_installed_perl_are_taken_and_else_the_reason_is_told(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    for name in ("perl", "python"):
        with pytest.raises(faqs.Unavailable, match="there is no apt-.* here; the FAQs come from"):
            faqs.fetch_faq(name, tmp_path / name)
    pod = tmp_path / "lib" / "pods" / "perlfaq4.pod"
    pod.parent.mkdir(parents=True)
    pod.write_text("=head2 Why?\n")
    run = faqs.run
    where = str(tmp_path / "lib")
    monkeypatch.setattr(faqs, "run", lambda *c, **how: where if c[0] == "perl" else run(*c, **how))
    assert faqs.fetch_faq("perl", tmp_path / "perl") == [tmp_path / "perl" / "perlfaq4.pod"]
    monkeypatch.setattr(faqs, "run", run)
    assert faqs.fetch_faq("perl", tmp_path / "perl") == [tmp_path / "perl" / "perlfaq4.pod"]


def test_a_package_is_unpacked(tmp_path, monkeypatch):
    def run(*command, cwd=None):
        if command[0] == "apt-cache":
            return "python3-doc\n  Depends: python3.9-doc\n"
        assert command[2 if command[0] == "apt-get" else 0] in ("python3.9-doc", "dpkg-deb")
        file = Path(cwd or command[3], "x.deb")
        if command[0] == "dpkg-deb":
            file = Path(command[3], "usr", "_sources", "faq", "general.rst.txt")
            file.parent.mkdir(parents=True)
        file.write_text("text")
        return ""

    monkeypatch.setattr(faqs, "run", run)
    found = faqs.fetch_faq("python", tmp_path / "python")
    assert [file.name for file in found] == ["general.rst.txt"] and found[0].read_text() == "text"
