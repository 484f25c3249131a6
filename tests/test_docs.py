"""The documentation: its links lead somewhere, its code is run, and its chapters have the same parts.

The build of the documentation checks links to classes and functions as well, and the job ``linkcheck`` those to the
web.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.rst"))}
EXAMPLES = {f"auto_examples/{path.stem}" for path in (ROOT / "examples").glob("plot_*.py")}
MARKDOWN = sorted(ROOT.glob("*.md"))
SOURCES = [*(ROOT / "sklearn_ae").rglob("*.py"), *(ROOT / "examples").glob("*.py"), ROOT / "pyproject.toml"]
TEXTS = PAGES | {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in [*MARKDOWN, *SOURCES]}


def toctree(page):
    """Return the pages that a page lists in its toctrees."""
    trees = re.findall(r"^\.\. toctree::\n((?:   .*\n|\n)+)", PAGES[page] + "\n", re.MULTILINE)
    lines = [line.strip() for tree in trees for line in tree.splitlines()]
    return [re.sub(r".*<(.+)>", r"\1", line) for line in lines if line and not line.startswith(":")]


CHAPTERS = toctree("user_guide")
every_chapter = pytest.mark.parametrize("chapter", ["getting_started", *CHAPTERS])


def targets(role, text):
    """Return the targets of a role: of ``:role:`target``` and of ``:role:`words <target>```."""
    return [re.sub(r".*<(.+)>", r"\1", found, flags=re.DOTALL) for found in re.findall(rf":{role}:`([^`]+)`", text)]


LABELS = [label for text in PAGES.values() for label in re.findall(r"^\.\. _([\w.]+):$", text, re.MULTILINE)]


def test_links_to_pages_lead_somewhere():
    pages = PAGES.keys() | EXAMPLES | {"auto_examples/index"}
    assert [(name, to) for name, text in TEXTS.items() for to in targets("doc", text) if to not in pages] == []


def test_links_to_sections_lead_somewhere():
    known = {*LABELS, *(f"sphx_glr_{example.replace('/', '_')}.py" for example in EXAMPLES)}
    assert [(name, to) for name, text in TEXTS.items() for to in targets("ref", text) if to not in known] == []


def test_labels_are_unique():
    assert sorted(LABELS) == sorted(set(LABELS))


def test_every_page_is_in_one_toctree():
    listed = [entry for page in PAGES for entry in toctree(page)]
    assert sorted(listed) == sorted((PAGES.keys() - {"index"}) | {"auto_examples/index"})


def test_files_that_markdown_links_to_exist():
    links = [link for path in MARKDOWN for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", TEXTS[path.name])]
    assert [link for link in links if not urlsplit(link).scheme and not (ROOT / link).exists()] == []


def is_well_formed(url):
    parts = urlsplit(url)
    return parts.scheme == "https" and re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc) and "//" not in parts.path


def test_addresses_are_well_formed():
    found = [(name, url) for name, text in TEXTS.items() for url in re.findall(r"\bhttps?:[^\s>`\"')\]},]*", text)]
    assert len(found) > 5
    assert [(name, url) for name, url in found if not is_well_formed(url.rstrip(".:;"))] == []


def python_blocks(text):
    """Return the literal blocks and blocks of code that are Python and not run as doctests."""
    blocks = re.findall(r"(?:^\.\. code-block:: *py\w*|^(?!\.\. ).*::)\n\n((?:[ ]+.*\n|\n)+)", text, re.MULTILINE)
    return [block for block in blocks if ">>>" not in block and re.search(r"^ +(import|from) |\w+\(", block)]


@every_chapter
def test_all_code_of_the_guide_is_run(chapter):
    assert ">>>" in PAGES[chapter]
    assert python_blocks(PAGES[chapter]) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_an_example_parameters_pitfalls_and_links_in_this_order(chapter):
    text = PAGES[chapter]
    parts = [">>>", "\nParameters that matter\n===", "\nPitfalls\n===", "\nSee also\n===", "- API: "]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
