"""The density of codes, and the missing cells of rows by their codes."""

import pickle

import numpy as np
import pytest

from sklearn_ae.model import code_density
from sklearn_ae.model.code_density import CodeDensity

RNG = np.random.default_rng(0)
SIDE = RNG.uniform(size=1000) < 0.3
CODES = np.where(SIDE[:, None], 5.0, -5.0) + RNG.normal(size=(1000, 2)) * [1, 0.2]
TOGETHER = SIDE & (RNG.uniform(size=1000) < 0.6)
GAPS = np.column_stack([TOGETHER, np.zeros(1000, dtype=bool), TOGETHER])


def test_codes_have_the_moments_and_the_groups_of_training_codes():
    drawn = CodeDensity(CODES).draw(5000, np.random.RandomState(0))
    np.testing.assert_allclose(drawn.mean(0), CODES.mean(0), atol=0.2)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(CODES.T), rtol=0.05)
    assert (np.abs(drawn[:, 0]) < 1).mean() < 0.01


def test_codes_are_in_random_order():
    drawn = CodeDensity(CODES).draw(2000, np.random.RandomState(0))
    assert np.abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 0.1


def test_missing_cells_follow_the_code_and_occur_together():
    density, random = CodeDensity(CODES, GAPS), np.random.RandomState(0)
    codes = density.draw(4000, random)
    gaps = density.draw_gaps(codes, random)
    assert gaps[codes[:, 0] > 0, 0].mean() == pytest.approx(GAPS[SIDE, 0].mean(), abs=0.05)
    assert gaps[codes[:, 0] < 0, 0].mean() < 0.02
    assert not gaps[:, 1].any()
    np.testing.assert_array_equal(gaps[:, 2], gaps[:, 0])


def test_the_most_frequent_patterns_are_kept(monkeypatch):
    monkeypatch.setattr(code_density, "MAX_PATTERNS", 2)
    gaps = np.zeros((1000, 3), dtype=bool)
    gaps[:300, 0], gaps[300:310, 1] = True, True
    density = CodeDensity(CODES, gaps)
    drawn = density.draw_gaps(CODES, np.random.RandomState(0))
    assert not drawn[:, 1:].any()
    assert drawn[:, 0].mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("gaps", [None, np.zeros((1000, 3), dtype=bool)], ids=["no mask", "none missing"])
def test_complete_tables_have_no_missing_cells(gaps):
    assert CodeDensity(CODES, gaps).draw_gaps(CODES, np.random.RandomState(0)) is None


def test_a_pickle_holds_the_same_density_but_no_training_code():
    density = CodeDensity(CODES, GAPS)
    pickled = pickle.dumps(density)
    loaded = pickle.loads(pickled)  # noqa: S301
    assert len(pickled) < CODES.nbytes
    for draw in (lambda d: d.draw(9, np.random.RandomState(0)), lambda d: d.draw_gaps(CODES, np.random.RandomState(0))):
        np.testing.assert_array_equal(draw(loaded), draw(density))
    with pytest.raises(ValueError, match="must be fitted"):
        pickle.loads(pickle.dumps(CodeDensity())).draw(1, np.random.RandomState(0))  # noqa: S301


@pytest.mark.parametrize("codes", [np.ones((1, 2)), np.ones((50, 2)), np.array([[0.0, 1.0], [2.0, 3.0]])])
def test_few_and_equal_codes_have_a_density(codes):
    drawn = CodeDensity(codes.astype(np.float32)).draw(200, np.random.RandomState(0))
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.3)


def of_classes(sizes, k=3, spread=0.2):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random = np.random.RandomState(0)
    return 5.0 * labels[:, None] + spread * random.normal(size=(len(labels), k)), labels


def test_codes_of_a_class_are_drawn_from_its_components():
    codes, labels = of_classes([300, 4, 200])
    density = CodeDensity(codes, labels=labels)
    drawn = density.draw(5000, np.random.RandomState(0)).mean(1)
    shares = [(np.abs(drawn - 5 * label) < 2).mean() for label in range(3)]
    assert shares == pytest.approx([300 / 504, 4 / 504, 200 / 504], abs=0.03)
    for label in range(3):
        of_class = density.of_class(label).draw(300, np.random.RandomState(0))
        assert np.abs(of_class.mean(0) - 5 * label).max() < 0.3
        assert of_class.std(0) == pytest.approx(np.full(3, 0.2), rel=0.5)
    assert density.of_class(3) is None


def test_the_spread_of_a_class_of_one_row_is_that_of_the_others():
    codes, labels = of_classes([300, 1])
    for given in (codes, codes.astype(np.float32)):
        drawn = CodeDensity(given, labels=labels).of_class(1).draw(2000, np.random.RandomState(0))
        assert drawn.std(0) == pytest.approx(np.full(3, 0.2), rel=0.3)


def test_equal_codes_of_classes_are_drawn_as_they_are():
    density = CodeDensity(np.zeros((6, 2)), labels=np.array([0, 0, 0, 1, 1, 2]))
    assert np.abs(density.draw(50, np.random.RandomState(0))).max() < 0.1


def test_gaps_of_a_class_are_those_of_its_components():
    codes, labels = of_classes([200, 200])
    gaps = np.stack([labels == 1, np.zeros(400, dtype=bool)], 1)
    density, random = CodeDensity(codes, gaps, labels), np.random.RandomState(0)
    for label in (0, 1):
        of_class = density.of_class(label)
        drawn = of_class.draw_gaps(of_class.draw(200, random), random)
        assert drawn.mean(0) == pytest.approx([label, 0], abs=0.05)
