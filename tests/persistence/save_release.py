"""Save an estimator of each family as this version writes it, for the tests of later versions."""

import json
from pathlib import Path

from sklearn.datasets import load_iris

import sklearn_ae
from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder

FAMILIES = (RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder)
RELEASES = Path(__file__).parent / "releases"

if __name__ == "__main__":
    version, answers = sklearn_ae.__version__, {}
    X, y = load_iris(return_X_y=True)
    for family in FAMILIES:
        model = family(2, hidden_layer_sizes=(8,), max_iter=20, random_state=0).fit(X, y)
        model.save(RELEASES / f"{version}-{family.__name__}.safetensors")
        answers[family.__name__] = {
            "codes": model.transform(X[::30]).tolist(),
            "labels": model.predict(X[::30]).tolist(),
        }
    (RELEASES / f"{version}.json").write_text(json.dumps(answers))
