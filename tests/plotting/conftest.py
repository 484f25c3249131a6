"""Figures without a window, closed after each test."""

import pytest

pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _closed_figures():
    """Draw without a window, leave settings as they are, and close the figures."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before
