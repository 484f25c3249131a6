"""
A mixed table
=============

A DataFrame with categorical, boolean, integer and missing cells is fitted as it is, and results have its dtypes.
"""

# %%
# The table describes cars. Its columns depend on two variables that it does not contain: size and age.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_ae import AutoencoderImputer, RegularizedAutoencoder, VariationalAutoencoder


def cars(n, seed):
    """Return n cars of four body styles."""
    random = np.random.default_rng(seed)
    size, age = random.normal(size=n), random.gamma(2.0, 3.0, n)
    style = np.select([size < -0.7, size < 0.4, size < 1.2], ["hatchback", "saloon", "estate"], "van")
    diesel = random.uniform(size=n) < 1 / (1 + np.exp(-2 * size))
    return pd.DataFrame(
        {
            "weight": 1400 + 250 * size + random.normal(0, 40, n),
            "price": np.exp(10 + 0.3 * size - 0.12 * age + random.normal(0, 0.15, n)),
            "doors": np.where(style == "saloon", 4, np.where(style == "van", 5, 3)).astype("int8"),
            "style": pd.Categorical(style, ["hatchback", "saloon", "estate", "van"]),
            "fuel": np.where(diesel, "diesel", "petrol"),
            "year": (2024 - age).astype("int16"),
            "towbar": random.uniform(size=n) < 1 / (1 + np.exp(2 - 2 * size)),
        }
    )


table = cars(2000, seed=0)
print(table.dtypes)

# %%
# Two components and no preprocessing. ``scale="quantile"`` is for the price, which has a heavy tail.

model = RegularizedAutoencoder(2, scale="quantile", random_state=0).fit(table)
codes = model.transform(table)

fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharex=True, sharey=True)
for style in table["style"].cat.categories:
    axes[0].scatter(*codes[table["style"] == style].T, s=4, label=style)
axes[0].legend(markerscale=3)
axes[0].set_title("codes by body style")
drawn = axes[1].scatter(*codes.T, c=table["year"], s=4)
axes[1].set_title("codes by year")
fig.colorbar(drawn)
plt.show()

# %%
# Generated cars have the columns and dtypes of the table: the fuel is diesel or petrol, the number of doors an integer.

print(model.sample(5, random_state=0).round({"weight": 0, "price": 0}))

# %%
# A fifth of the cells is removed. ``AutoencoderImputer`` imputes them, numbers and categories.

random = np.random.default_rng(1)
missing = pd.DataFrame(random.uniform(size=table.shape) < 0.2, columns=table.columns)
incomplete = table.astype({"doors": "Int8", "year": "Int16", "towbar": "boolean"}).mask(missing)
filled = AutoencoderImputer(random_state=0).fit_transform(incomplete)

for name in ("weight", "price", "year"):
    error = (filled[name].astype(float) - table[name])[missing[name]] / table[name].std()
    print(f"{name}: {np.sqrt(np.mean(error**2)):.2f} standard deviations; by the mean of the column: 1.00")
for name in ("style", "fuel", "towbar"):
    right = (filled[name].astype(str) == table[name].astype(str))[missing[name]].mean()
    usual = table[name].astype(str).value_counts(normalize=True).iloc[0]
    print(f"{name}: {right:.0%} correct; by the most frequent one: {usual:.0%}")

# %%
# Rows of a class: cars that are sold soon, and cars that are not.

sold = np.where(np.log(table["price"]) + 0.5 * random.normal(size=len(table)) < 9, "soon", "late")
seller = VariationalAutoencoder(3, scale="quantile", random_state=0).fit(table, sold)
for when in ("soon", "late"):
    rows = seller.sample(1000, random_state=0, y=when)
    print(f"sold {when}: year {rows['year'].median():.0f}, price {rows['price'].median():.0f}")
