"""One, five and fifty draws in the bound (Burda et al. 2016, table 1): ``python benchmarks/exams/mnist_draws.py``.

Variational autoencoders 784-200-200-50-200-200-784, tanh, on MNIST binarised once. The figure is the negative
log-likelihood of a test row in nats, as in ``mnist_likelihood.py``. Published: 86.76, 85.54 and 84.78; the order must
hold. Fifty draws take fifty times the decoder, which is hours for some epochs of all rows on one core. So ``--epochs``
and ``--rows`` are small by default.

Not as there: Burda et al. binarise anew in each epoch, train for 3,280 epochs, and score with 5,000 draws.
"""

import time

from exam import Table, arguments, bar, over_seeds, report
from mnist_likelihood import binarised_mnist, nats

SETTINGS = {
    "n_components": 50,
    "hidden_layer_sizes": (200, 200),
    "activation": "tanh",
    "likelihood": "bernoulli",
    "learning_rate": 1e-3,
    "early_stopping": False,
    "linear_path": False,
    "task": None,
}
PUBLISHED = {1: 86.76, 5: 85.54, 50: 84.78}


def main() -> None:
    asked = arguments(__doc__, seeds=1, epochs=20, rows=10_000)
    start = time.perf_counter()
    X, X_test = binarised_mnist(asked.data)
    X, settings = X[: asked.rows], SETTINGS | {"max_iter": asked.epochs}

    def row(n_draws: int) -> dict:
        changed = settings | {"n_draws": n_draws}
        return over_seeds(f"n_draws={n_draws}", asked.seeds, lambda seed: nats(X, X_test, changed, seed))

    table: Table = {f"n_draws={n}": row(n) for n in PUBLISHED}
    bars = []
    for few, more in ((1, 5), (5, 50)):
        gain = table[f"n_draws={few}"]["test rows"]["mean"] - table[f"n_draws={more}"]["test rows"]["mean"]
        beside = f"published {PUBLISHED[few] - PUBLISHED[more]:.2f}"
        bars.append(bar(f"gain of {more} draws over {few}, nats", gain, least=0, beside=beside))
    table |= {f"published: {n} draws": {"test rows": value} for n, value in PUBLISHED.items()}
    report("mnist_draws", asked, start, settings, {"nats": table}, bars)


if __name__ == "__main__":
    main()
