"""Summary of the code: statistics of each dimension."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model import readouts
from sklearn_ae.model.model import Model
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.tables.containers import Container
from sklearn_ae.training.apply import apply


def summary_of_codes(model: Model, table: Container) -> dict[str, NDArray]:
    """Return statistics of each code dimension over rows, each (k,).

    Parameters
    ----------
    model : Model
        A fitted model. Of several members the best one is described.
    table : Container
        The rows.
    """
    codes = model.apply(readouts.code, table, dtype=np.float64)
    mean, std = codes.mean(0), codes.std(0)
    losses = model.apply(partial(_losses, mean=torch.from_numpy(mean)), table).mean(0, dtype=np.float64)
    rows = readouts.rows_of(model.encoding.schema.source(table, model.handle_unknown), model.encoding, model.net)
    return {
        "mean": mean,
        "std": std,
        "share": _shares(losses),
        "divergence": apply(model.net, model.inference.divergence, rows, np.float64).mean(0),
        "active": model.inference.is_active(std),
    }


def _losses(module: Autoencoder, batch: Batch, mean: Tensor) -> Tensor:
    """Return (n, k + 2): losses with each dimension at its mean, with all of them, and with none."""
    code = module.encode(batch.x, batch.observed)
    mean = mean.to(code)
    replaced = (torch.where(chosen, mean, code) for chosen in _replacements(code))
    return torch.stack([module.likelihood.loss(batch.x, module.decoder(z), batch.observed) for z in replaced], 1)


def _replacements(code: Tensor) -> Tensor:
    """Return (k + 2, k): the dimensions that are replaced."""
    each = torch.eye(code.shape[1], dtype=torch.bool, device=code.device)
    return torch.cat([each, torch.ones_like(each[:1]), torch.zeros_like(each[:1])])


def _shares(losses: NDArray) -> NDArray:
    """(k + 2,) -> (k,): losses added by each dimension, relative to those added by all; 0 if they add none."""
    *each, without_code, with_code = losses
    added = without_code - with_code
    return (np.array(each) - with_code) / added if added > 0 else np.zeros(len(each))
