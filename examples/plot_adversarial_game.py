r"""
The game of the adversarial autoencoder
=======================================

A discriminator :math:`D` learns to distinguish rows from generated ones. The decoder, the generator :math:`G`, learns
to generate rows that the discriminator takes for real. The value of the game is
:math:`V(D, G) = E \log D(x) + E \log(1 - D(G(z)))`. At its equilibrium :math:`D = 1/2` everywhere, and
:math:`V = -\log 4`.
"""

# %%
# Two problems in two dimensions: one Gaussian, and eight of them on a ring. ``history_`` has the value of each epoch.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score

from sklearn_ae import AdversarialAutoencoder

random = np.random.default_rng(0)


def gaussian(n):
    return random.normal(size=(n, 2)) @ [[2.0, 0.0], [1.2, 0.6]]


def ring(n):
    angle = random.integers(8, size=n) * np.pi / 4
    return 4 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.2 * random.normal(size=(n, 2))


def distinguished(real, generated):
    """Return how well a new classifier distinguishes them: the area under its ROC curve, 1/2 for not at all."""
    rows, is_real = np.concatenate([real, generated]), np.repeat([1, 0], [len(real), len(generated)])
    return cross_val_score(
        HistGradientBoostingClassifier(random_state=0), rows, is_real, cv=5, scoring="roc_auc"
    ).mean()


problems = {"one Gaussian": gaussian, "ring of eight": ring}
real = {name: draw(1500) for name, draw in problems.items()}
settings = {"n_components": 2, "hidden_layer_sizes": (64, 64), "scale": "common", "max_iter": 120, "random_state": 0}
models = {name: AdversarialAutoencoder(**settings).fit(rows) for name, rows in real.items()}

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, model in models.items():
    ax.plot(model.history_["value"], label=name)
ax.axhline(-np.log(4), color="0.4", linestyle="--", linewidth=1, label=r"$-\log 4$")
ax.set(xlabel="epoch", ylabel="V(D, G)")
ax.legend(frameon=False)
plt.show()

# %%
# Both values approach :math:`-\log 4`. That alone proves nothing: a discriminator that has learned too little has this
# value as well. So a new classifier is trained on new rows and on rows of the generator, decoded draws from the prior.
# ``sample`` draws codes from a mixture of the codes of the rows instead, and adds the noise of their residuals.

ways = {
    "generator": lambda model: model.inverse_transform(random.normal(size=(1500, 2))),
    "sample": lambda model: model.sample(1500, random_state=0),
}
for name, model in models.items():
    print(f"{name}: V - (-log 4) = {model.history_['value'].iloc[-1] + np.log(4):+.3f}")
    for way, draw in ways.items():
        print(f"    {way}: a new classifier has an AUC of {distinguished(problems[name](1500), draw(model)):.2f}")

# %%
# Rows of the generator are close to the Gaussian. On the ring the classifier distinguishes many of them, although the
# value is almost that of the equilibrium: some are between the modes, because the decoder is continuous and the support
# of the prior is connected, and those at the modes vary too little. Colours show :math:`D(x)`.

fig, axes = plt.subplots(2, 3, figsize=(10, 6.6), layout="constrained", sharex="row", sharey="row")
for row, (name, model) in zip(axes, models.items(), strict=True):
    low, high = real[name].min(axis=0) - 0.5, real[name].max(axis=0) + 0.5
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 80).T), axis=-1)
    probability = model.discriminate(grid.reshape(-1, 2)).reshape(80, 80)
    shown = {"rows": real[name]} | {way: draw(model) for way, draw in ways.items()}
    for ax, (what, rows) in zip(row, shown.items(), strict=True):
        shade = ax.pcolormesh(
            *np.moveaxis(grid, -1, 0), probability, cmap="RdBu", vmin=0, vmax=1, alpha=0.6, rasterized=True
        )
        ax.scatter(*rows.T, s=3, color="0.15")
        ax.set(
            title=f"{name}: {what}",
            xlim=(low[0], high[0]),
            ylim=(low[1], high[1]),
            xlabel="column 0",
            ylabel="column 1",
        )
fig.colorbar(shade, ax=axes, label="D(x)", shrink=0.6)
plt.show()
