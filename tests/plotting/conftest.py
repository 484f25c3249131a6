"""Figures without a window, closed after each test."""

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _closed_figures():
    """Draw without a window, check that settings stay as they are, and close the figures."""
    plt.switch_backend("agg")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before
