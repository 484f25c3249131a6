"""How good the defaults are on bundled data, against scikit-learn: `pytest -m slow tests/test_exams.py`."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from tests.families import FAMILIES

pytestmark = pytest.mark.slow


def accuracy(model, X, y, repeats=3):
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    return cross_val_score(model, X, y, cv=folds).mean()


@pytest.mark.parametrize(("k", "margin"), [(2, 0.10), (4, 0.05), (8, 0.01)])
@pytest.mark.parametrize("judge", ["LogisticRegression", "5-NN"])
def test_codes_of_digits_beat_pca_codes(k, margin, judge):
    X, y = load_digits(return_X_y=True)
    judges = {
        "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "5-NN": KNeighborsClassifier(),
    }
    codes = RegularizedAutoencoder(k, scale="common", task=None, random_state=0)
    own, pca = (accuracy(make_pipeline(step, judges[judge]), X, y) for step in (codes, PCA(k)))
    print(f"k={k} {judge}: {own:.4f} against {pca:.4f}")
    assert own >= pca + margin


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer, load_wine], ids=lambda load: load.__name__)
@pytest.mark.parametrize("Family", FAMILIES)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer.*")
def test_predictions_are_as_good_as_those_of_a_classifier_of_the_same_layers(Family, load):
    X, y = load(return_X_y=True)
    classifier = make_pipeline(StandardScaler(), MLPClassifier((128, 64, 8), max_iter=300, random_state=0))
    own, other = (accuracy(model, X, y, repeats=2) for model in (Family(random_state=0), classifier))
    print(f"{Family.__name__} {load.__name__}: {own:.4f} against {other:.4f}")
    assert own >= other - 0.01


def test_rows_without_labels_help_where_labels_are_few():
    """5 % of the labels of digits, ten splits, against the same network on the labelled rows."""
    X, y = load_digits(return_X_y=True)
    gains = []
    for seed in range(10):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
        few, _ = train_test_split(np.arange(len(X_train)), train_size=0.05, stratify=y_train, random_state=seed)
        partly = np.full_like(y_train, -1)
        partly[few] = y_train[few]
        network = RegularizedAutoencoder(16, scale="common", random_state=seed)
        alone = network.fit(X_train[few], y_train[few]).score(X_test, y_test)
        joint = network.set_params(unlabeled=-1).fit(X_train, partly).score(X_test, y_test)
        gains.append(joint - alone)
    print(f"gain {np.mean(gains):.4f}, standard error {np.std(gains) / np.sqrt(len(gains)):.4f}")
    assert np.mean(gains) >= 0.02


def test_a_variational_code_of_digits_does_not_collapse():
    # A dimension is pruned in about one fit of ten; of 130 seeds none had fewer than six active ones.
    X, _ = load_digits(return_X_y=True)
    models = [VariationalAutoencoder(8, scale="common", task=None, random_state=seed) for seed in range(5)]
    active = [int((model.fit_transform(X).var(0) > 0.1).sum()) for model in models]
    print(f"active dimensions of eight: {active}")
    assert min(active) >= 6
    assert np.mean(active) >= 7.5
