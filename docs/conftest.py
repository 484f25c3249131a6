"""The examples of the documentation write their files into a folder of their own."""

import importlib.util
import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # read by scikit-learn when SciPy is imported

import pytest  # noqa: E402

# The chapter shows callbacks of scikit-learn 1.9; its other examples run with older versions as well.
collect_ignore = [] if importlib.util.find_spec("sklearn.callback") else ["tune.rst"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
