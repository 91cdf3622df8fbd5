"""What the READMEs show and say is what the committed records give; their links lead somewhere."""

import re

import pytest

from tests.readmes import BLOCK, REFERENCE, ROOT, list_readmes, make_block, write_blocks

MEASURED = ROOT / "tests" / "benchmarks"
GENERATED = "\n".join(
    file.read_text(encoding="utf-8")
    for file in [*sorted((REFERENCE / "report").rglob("*.md")), *sorted(MEASURED.glob("[A-Z]*.md"))]
    if file.name != "README.md"
)


@pytest.mark.parametrize("readme", list_readmes(), ids=lambda f: str(f.relative_to(ROOT).parent))
def test_a_readmes_blocks_are_what_their_sources_make(readme):
    text = readme.read_text(encoding="utf-8")
    assert write_blocks(text) == text, "python -m tests.readmes writes the blocks anew"


def test_the_blocks_are_found():
    texts = [file.read_text("utf-8") for file in list_readmes()]
    sources = [block["source"] for text in texts for block in BLOCK.finditer(text)]
    assert len([source for source in sources if source.endswith(".md")]) >= 6
    assert len([source for source in sources if source.startswith("analysis.origin")]) >= 6
    with pytest.raises(ValueError, match="is no source of a block"):
        make_block("analysis.nothing demo")


def test_a_block_with_another_number_is_found():
    text = (REFERENCE / "README.md").read_text(encoding="utf-8")
    shown = BLOCK.search(text)["text"]
    digit = re.search(r"\d", shown)[0]
    changed = text.replace(shown, shown.replace(digit, str((int(digit) + 1) % 10), 1))
    assert changed != text and write_blocks(changed) == text


def prose(text):
    """A README without its blocks, code, links, references and dates."""
    text = BLOCK.sub(" ", text)
    for left_out in (r"```.*?```", r"`[^`]*`", r"\]\([^)]*\)", r"arXiv \d+\.\d+"):
        text = re.sub(left_out, " ", text, flags=re.S)
    return re.sub(r"\d{4}-\d\d-\d\d|Python 3\.\d+", " ", text)


@pytest.mark.parametrize(
    "folder", [".", "runs/reference", "methods/backbone", "methods/training", "methods/encoding"]
)
def test_a_number_in_prose_stands_in_a_generated_table(folder):
    """Scores, costs and counts: decimals, and whole numbers of three digits and more."""
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(block["text"] for block in BLOCK.finditer(text))
    number = r"\d+\.\d+|\d{1,3}(?:,\d{3})+|\d{3,}"
    for found in re.findall(rf"(?<![\w.,])(?:{number})(?![\w,]*\d)", prose(text)):
        whole = rf"(?<![\d.,]){re.escape(found)}(?![\d]|\.\d)"
        assert re.search(whole, GENERATED + blocks), f"{found} is in no generated table"


@pytest.mark.parametrize("readme", list_readmes(), ids=lambda f: str(f.relative_to(ROOT).parent))
def test_a_readmes_links_lead_somewhere(readme):
    for link in re.findall(r"\]\(([^)\s]+)\)", readme.read_text(encoding="utf-8")):
        if "://" not in link and not link.startswith("#"):
            assert (readme.parent / link.partition("#")[0]).exists(), link


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 170
