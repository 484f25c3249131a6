"""The API reference: every module of the package is on one page, or its classes have pages of their own."""

import re
from pathlib import Path

import sklearn_ae

PACKAGE = Path(sklearn_ae.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"
DOCUMENTED = [
    module for page in sorted(DOCS.glob("api_*.rst")) for module in re.findall(r"automodule:: (\S+)", page.read_text())
]
WITH_PAGES_OF_THEIR_OWN = {getattr(sklearn_ae, name).__module__ for name in sklearn_ae.__all__ if name[0].isupper()}
INTERNAL = {"sklearn_ae.warning"}


def test_the_api_pages_have_every_module_once():
    files = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
    modules = {".".join(path.parts) for path in files if path.name != "__init__"}
    assert set(DOCUMENTED) == modules - WITH_PAGES_OF_THEIR_OWN - INTERNAL
    assert len(DOCUMENTED) == len(set(DOCUMENTED))
