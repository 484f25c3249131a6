"""The README: its code runs."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_the_code_of_the_readme_runs(block):
    names = {}
    exec(compile(BLOCKS[block], f"README.md, block {block}", "exec"), names)
    if "model" in names:  # the text says this accuracy
        assert names["model"].score(names["X_test"], names["y_test"]) == pytest.approx(0.962, abs=0.01)
        assert "The accuracy is 0.962" in README


def test_the_readme_has_code():
    assert len(BLOCKS) >= 2
