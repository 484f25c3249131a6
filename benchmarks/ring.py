"""The adversarial family on a ring of eight narrow Gaussians, by activation: ``python benchmarks/ring.py``.

Printed are the share of samples near a mode, and how well a fresh classifier tells samples from new rows: the area
under its ROC curve, 1/2 for not at all.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score

from sklearn_ae import AdversarialAutoencoder

ANGLES = np.arange(8) * np.pi / 4
MODES = 4 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
SPREAD = 0.2
N_ROWS = 1500


def ring(random):
    return MODES[random.integers(8, size=N_ROWS)] + SPREAD * random.normal(size=(N_ROWS, 2))


def share_near_a_mode(rows):
    return (np.linalg.norm(rows[:, None] - MODES, axis=2).min(axis=1) < 3 * SPREAD).mean()


def told_apart(real, generated):
    rows, is_real = np.concatenate([real, generated]), np.repeat([1, 0], N_ROWS)
    return cross_val_score(
        HistGradientBoostingClassifier(random_state=0), rows, is_real, cv=5, scoring="roc_auc"
    ).mean()


def main():
    settings = {"hidden_layer_sizes": (64, 64), "scale": "common", "max_iter": 120}
    for activation in ("relu", "silu", "gelu", "tanh"):
        for seed in range(3):
            random = np.random.default_rng(seed)
            model = AdversarialAutoencoder(2, activation=activation, random_state=seed, **settings).fit(ring(random))
            samples = model.sample(N_ROWS, random_state=0)
            near, area = share_near_a_mode(samples), told_apart(ring(random), samples)
            print(f"{activation}, seed {seed}: {near:.3f} near a mode, area {area:.3f}", flush=True)


if __name__ == "__main__":
    main()
