"""Draw the picture of the README: ``python docs/make_readme_picture.py`` writes ``docs/_static/readme.png``."""

from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder  # noqa: E402

PICTURE = Path(__file__).parent / "_static" / "readme.png"


def mosaic(rows: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """Return a grid of images; (n, 64) -> (10 n_rows, 10 n_columns)."""
    images = np.pad(rows.reshape(n_rows, n_columns, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=np.nan)
    return images.swapaxes(1, 2).reshape(10 * n_rows, 10 * n_columns)


def main() -> None:
    """Fit to three quarters of the digits, plot codes of the others and generated rows."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, _, y_test = train_test_split(X, y, stratify=y, random_state=0)
    plane = VariationalAutoencoder(2, scale="common", random_state=0).fit(X_train)
    sampler = RegularizedAutoencoder(8, scale="common", random_state=0).fit(X_train)
    codes = {
        "PCA, 2 codes": PCA(2).fit(X_train).transform(X_test),
        "Variational autoencoder, 2 codes": plane.transform(X_test),
    }

    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=[1, 1, 0.95])
    for ax, (title, code) in zip(axes, codes.items(), strict=False):
        points = ax.scatter(*code.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=9)
        ax.set(title=title, xticks=[], yticks=[], xlabel="code 0", ylabel="code 1")
    fig.colorbar(points, ax=axes[1], label="digit", ticks=range(10))
    axes[2].imshow(mosaic(sampler.sample(36, random_state=0), 6, 6), cmap="gray_r", vmin=0, vmax=16)
    axes[2].set(title="New rows of a regularized autoencoder", xticks=[], yticks=[], facecolor="lightsteelblue")
    PICTURE.parent.mkdir(exist_ok=True)
    fig.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
