"""Tables with columns of all types, and rows as the inputs of a graph."""

import numpy as np
import pandas as pd

CATEGORICAL = ["town", "district", "is new", "rate", "kind", "code"]


def mixed_table(n=120, seed=0):
    random = np.random.RandomState(seed)
    table = pd.DataFrame(
        {
            "income": random.lognormal(size=n),
            "year": 2e3 + random.normal(size=n),
            "single": random.normal(size=n).astype(np.float32),
            "n rooms": random.randint(1, 9, n),
            "is old": random.rand(n) < 0.3,
            "gaps": np.where(random.rand(n) < 0.2, np.nan, random.normal(size=n)),
            "town": random.choice(["Bern", "Köln", "Oslo", "Rome", "Rust"], n, p=[0.4, 0.3, 0.26, 0.02, 0.02]),
            "district": random.choice([1010, 1020, 3333, 4444], n),
            "is new": random.rand(n) < 0.5,
            "rate": random.choice([0.5, 1.5, 2.5], n),
            "linear": random.normal(size=n),  # as nodes of the graph are named
            "kind": pd.Categorical(random.choice(["x", "y"], n)),
            "code": random.choice([1.0, 2.0, 3.0, 4.0, np.nan], n),
        }
    )
    table.loc[3:9, "kind"] = None
    return table


def new_rows(n=40):
    """Return rows that the table has not, with unknown categories and missing cells."""
    rows = mixed_table(n, seed=1)
    rows.loc[0, "town"] = "Ulm"
    rows.loc[1, "district"] = 4
    rows.loc[2, "rate"] = 7.0
    rows.loc[:3, "kind"] = None
    rows.loc[4, ["income", "gaps"]] = np.nan
    return rows


def inputs_of(rows, ports):
    """Return rows as the inputs of a graph, with empty strings for missing ones."""
    return {
        port.name: (
            rows[[port.name]].astype(object).fillna("") if port.type == "string" else rows[[port.name]]
        ).to_numpy()
        for port in ports
    }


def numbers_of(rows, ports):
    """Return rows as one array, (n, d), with numbers in place of strings."""
    columns = [
        [port.ids.get(cell, port.other_id) for (cell,) in cells] if port.ids else cells[:, 0].astype(float)
        for port, cells in zip(ports, inputs_of(rows, ports).values(), strict=True)
    ]
    return np.stack(columns, 1)
