"""The page "How a fit goes through the code" names files and functions that a fit really goes through, in order."""

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sklearn_ae
from sklearn_ae import RegularizedAutoencoder

PACKAGE = str(Path(sklearn_ae.__file__).parent)
PAGE = (Path(__file__).parent.parent / "docs" / "walkthrough.rst").read_text(encoding="utf-8")
FIT, TRANSFORM = (
    re.findall(r"^ +\* - \d+\n +- ``([\w/]+\.py)``\n +- ``([\w.]+)``\n", part, re.MULTILINE)
    for part in PAGE.split("From ``transform`` to the codes")
)


def calls_of(function, *args):
    """Return files and names of the functions of the package that a call runs through, in order."""
    calls = []

    def record(frame, event, arg):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            name = frame.f_code.co_qualname.split(".<locals>")[0]
            calls.append((Path(frame.f_code.co_filename).relative_to(PACKAGE).as_posix(), name))

    sys.setprofile(record)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture(scope="module")
def calls():
    random = np.random.RandomState(0)
    table = pd.DataFrame(
        {"size": random.normal(size=300), "kind": random.choice(["a", "b"], 300), "new": random.uniform(size=300) < 0.5}
    )
    estimator = RegularizedAutoencoder(n_components=2, max_iter=1, random_state=0)
    of_fit = calls_of(estimator.fit, table, np.arange(300) % 2)
    return {"fit": of_fit, "transform": calls_of(estimator.transform, table)}


@pytest.mark.parametrize(("method", "hops"), [("fit", FIT), ("transform", TRANSFORM)])
def test_each_hop_of_the_page_happens_after_the_one_before(calls, method, hops):
    remaining = iter(calls[method])
    assert [hop for hop in hops if hop not in remaining] == []  # each "in" reads on to the hop


def test_the_page_goes_from_fit_to_the_optimizer_and_from_transform_to_the_codes():
    assert FIT[0] == ("estimators/base.py", "BaseAutoencoder.fit")
    assert ("training/adam.py", "Adam.step") in FIT
    assert ("estimators/base.py", "BaseAutoencoder.transform") in TRANSFORM
    assert TRANSFORM[-1] == ("modules/autoencoder.py", "Autoencoder.encode")


def test_hops_are_numbered():
    numbers = re.findall(r"^ +\* - (\d+)$", PAGE, re.MULTILINE)
    assert list(map(int, numbers)) == list(range(1, len(FIT + TRANSFORM) + 1))


def test_the_walk_is_short():
    files = [file for file, _ in FIT + TRANSFORM]
    entered = Counter(file for file, before in zip(files, ["", *files], strict=False) if file != before)
    assert len(files) <= 40
    assert sum(times > 2 for times in entered.values()) <= 2
