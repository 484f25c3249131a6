"""All of scikit-learn's own checks, none expected to fail."""

import pytest
from sklearn.utils.estimator_checks import check_classifiers_train, parametrize_with_checks

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from tests.families import FAMILIES
from tests.own_family import WassersteinAutoencoder

TASKS = ["classification", "regression", None]
# Every family, and every task in one of them, small; all pairs with their defaults are among the slow tests.
SHORT = {"hidden_layer_sizes": (32,), "learning_rate": 0.01, "max_iter": 20}
QUICK = [
    *(Family(**SHORT) for Family in FAMILIES),
    RegularizedAutoencoder(task=None, **SHORT),
    VariationalAutoencoder(task="regression", **SHORT),
]


@parametrize_with_checks(QUICK)
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


@parametrize_with_checks([WassersteinAutoencoder(2, discrepancy_weight=0.1, **SHORT)])
def test_a_family_from_outside_the_package_is_one_as_well(estimator, check):
    check(estimator)


@pytest.mark.parametrize("Family", FAMILIES)
def test_log_probabilities_are_those_of_the_probabilities_in_single_precision(Family):
    check_classifiers_train(Family.__name__, Family(), X_dtype="float32")


@pytest.mark.slow
@parametrize_with_checks([Family(task=task) for Family in FAMILIES for task in TASKS])
def test_with_its_defaults_it_is_one_as_well(estimator, check):
    check(estimator)
