"""The warning about a variational code that holds nothing about the rows."""

from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_ae.model.readouts import code
from sklearn_ae.training.apply import apply
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.warning import warn

ACTIVE_VARIANCE = 0.01  # of the posterior means of an active dimension (Burda et al. 2016, section 5.2)
MIN_STEPS = 100  # a shorter fit has not converged
MAX_ROWS = 1000  # rows that the code is measured on
MARGIN = 1.5  # eigenvalue of correlated columns, relative to the largest one that independent columns would have


def warn_if_collapsed(net: AutoencoderNet, rows: Rows) -> None:
    """Warn if the code of training rows is constant although their columns are correlated.

    The code of independent columns is rightly empty, so there is no warning then.
    """
    n_epochs = len(net.history) - net.first_epoch_
    if n_epochs == 1 or n_epochs * ceil(len(rows) / net.batch_size) < MIN_STEPS:
        return
    index = torch.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS), dtype=torch.float64, device="cpu").long()
    some = rows.take(index)
    largest = apply(net, code, Rows(some)).var(0).max()
    if largest < ACTIVE_VARIANCE and are_correlated(some.x.cpu().double().numpy()):
        warn(
            f"the code has collapsed: no dimension depends on the rows (the largest variance of a posterior mean is "
            f"{largest:.2g}), although columns are correlated. Lower beta, try observation_noise='column' or "
            "scale='quantile', lower dropout, or train longer (max_iter)"
        )


def are_correlated(x: NDArray) -> bool:
    """(n, d) -> (): whether the largest eigenvalue of the correlation matrix is above that of independent columns.

    The latter tends to ``(1 + sqrt(d / n))^2`` (Marchenko & Pastur 1967).
    """
    x = x[:, x.std(0) > 0]
    n, d = x.shape
    if d < 2:
        return False
    x = (x - x.mean(0)) / x.std(0)
    return bool(np.linalg.norm(x, 2) ** 2 / n > MARGIN * (1 + np.sqrt(d / n)) ** 2)
