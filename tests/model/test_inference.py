"""Inference: densities of codes hold no training rows, and the errors of imputed numbers are measured."""

import copy
import pickle
import warnings
from types import FunctionType, ModuleType

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import pairwise_distances_argmin_min

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder
from sklearn_ae.model import mixtures, row_distribution
from sklearn_ae.model.code_density import CodeDensity
from tests.families import INTRICATE, SMALL, VARIANTS, tiny

X, _ = make_blobs(400, n_features=3, centers=3, cluster_std=0.3, random_state=0)


def arrays_in(thing, seen=None):
    """Yield every array and tensor that can be reached from an object."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | FunctionType | ModuleType | str):
        return
    seen[id(thing)] = thing  # held, so that its identity is not used again
    if isinstance(thing, np.ndarray | torch.Tensor):
        yield thing
    elif isinstance(thing, dict):
        yield from arrays_in([*thing.keys(), *thing.values()], seen)
    elif isinstance(thing, list | tuple | set | frozenset):
        for value in thing:
            yield from arrays_in(value, seen)
    else:
        yield from arrays_in(getattr(thing, "__dict__", {}), seen)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copy", "pickle"])
@pytest.mark.parametrize("name", INTRICATE)
def test_a_copy_holds_nothing_of_the_size_of_the_training_rows(name, copied):
    n = 397  # no layer, table or history of this fit has this size
    fitted = VARIANTS[name](**SMALL, early_stopping=False).fit(1 / (1 + np.exp(-X[:n])), np.arange(n) % 2)
    estimator = copied(fitted)
    sizes = {size for array in arrays_in(estimator) for size in array.shape}
    assert sizes
    assert n not in sizes


def test_codes_are_forgotten_when_the_mixture_is_fitted():
    estimator = RegularizedAutoencoder(early_stopping=False, **SMALL).fit(X)
    assert len(X) in {size for array in arrays_in(estimator) for size in array.shape}  # the search would find them
    estimator.sample()
    assert len(X) not in {size for array in arrays_in(estimator) for size in array.shape}


def test_samples_do_not_depend_on_when_the_mixture_is_fitted():
    first = tiny().fit(X)
    copied, pickled = copy.deepcopy(first), pickle.loads(pickle.dumps(first))
    expected = first.sample(50, random_state=0)
    for other in (copied, pickled, first):
        assert np.array_equal(other.sample(50, random_state=0), expected)


def test_a_mixture_follows_the_codes():
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    random = np.random.RandomState(0)
    codes = np.repeat(centres, 200, axis=0) + 0.1 * random.normal(size=(600, 2))
    drawn = CodeDensity(codes).draw(3000, random)
    distance = np.linalg.norm(drawn[:, None] - centres, axis=2)
    assert distance.min(1).max() < 1
    assert np.bincount(distance.argmin(1)) == pytest.approx([1000, 1000, 1000], abs=150)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_mixture_of_few_or_equal_codes_is_fitted_without_a_warning(n):
    near = np.zeros((n, 2)) + np.arange(n)[:, None] * 1e-9
    for codes in (np.zeros((n, 2)), near, near.astype(np.float32)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = CodeDensity(codes).draw(20, np.random.RandomState(0))
        assert np.abs(drawn).max() < 0.1


def test_codes_that_differ_by_rounding_are_fitted_without_a_warning():
    steps = np.array([[0, 0], [0, -1], [-2, -1]]) * np.spacing(np.float32(3e-3))  # k-means takes these for duplicates
    groups = np.vstack([np.array([-3e-3, 3e-4]) + steps, np.array([0.46, 0.46]) + steps])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CodeDensity(groups).draw(20, np.random.RandomState(0)).shape == (20, 2)


def test_a_density_must_be_fitted_before_codes_are_drawn():
    with pytest.raises(ValueError, match="must be fitted"):
        CodeDensity().draw(2, np.random.RandomState(0))
    assert pickle.loads(pickle.dumps(CodeDensity())).__dict__ == CodeDensity().__dict__


def test_large_tables_are_fitted_by_a_sample_of_their_codes(monkeypatch):
    monkeypatch.setattr(row_distribution, "MAX_ROWS", 50)
    estimator = RegularizedAutoencoder(**SMALL).fit(X)
    shapes = {array.shape for array in arrays_in(estimator.model_.sampler.distribution)}
    assert (50, 2) in shapes


def test_rows_of_more_weight_are_more_often_among_the_codes(monkeypatch):
    seen, fitted = [], mixtures.fitted_mixture
    monkeypatch.setattr(mixtures, "fitted_mixture", lambda codes, *how: seen.append(codes) or fitted(codes, *how))
    weight = np.where(np.arange(len(X)) < 40, 1.0, 1e-9)
    estimator = RegularizedAutoencoder(early_stopping=False, **SMALL).fit(X, sample_weight=weight)
    estimator.sample()
    (codes,) = seen
    assert len(codes) == len(X)
    assert pairwise_distances_argmin_min(codes, estimator.transform(X[:40]))[1].max() < 1e-4  # equal up to rounding


@pytest.mark.parametrize("family", [RegularizedAutoencoder, AdversarialAutoencoder])
def test_errors_of_imputed_numbers_are_measured_on_hidden_cells(family):
    random = np.random.RandomState(0)
    z = random.normal(size=(2000, 1))
    rows = np.hstack([z, z, z + 0.01 * random.normal(size=(2000, 1)), random.normal(size=(2000, 1))])
    own = {"corruption_level": 0.3} if family is RegularizedAutoencoder else {}
    errors = tiny(family, max_iter=60, hidden_layer_sizes=(32,), **own).fit(rows).model_.inference.errors
    assert errors.shape == (4,)
    assert (errors[:3] < 0.75).all()  # what two other columns tell
    assert errors[3] == pytest.approx(1, abs=0.35)  # what no other column tells


@pytest.mark.parametrize(
    ("n", "k", "expected"), [(1, 2, 1), (19, 8, 1), (2000, 8, 40), (10_000, 8, 100), (10_000, 50, 16), (100, 50, 1)]
)
def test_a_mixture_has_as_many_components_as_the_codes_and_the_time_allow(n, k, expected):
    assert mixtures._n_components(n, k) == expected
