"""What missing cells may have been, given the others."""

import torch
from torch import Tensor

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import AutoencoderNet, chunk_size

HIDDEN = 0.2  # share of the known cells that are hidden to see how far guesses are off


def expected_cells(module: Autoencoder, batch: Batch) -> Tensor:
    """Return expected numbers and most probable categories at the code of each row, (n, n_cells)."""
    return module.decode(module.encode(batch.x, batch.observed))


def drawn_cells(module: Autoencoder, batch: Batch, errors: Tensor) -> Tensor:
    """Return numbers around the expected ones, as far off as guesses are, and categories as they are probable."""
    output = module.decoder(module.encode(batch.x, batch.observed))
    n = len(errors)
    expected = module.columns.typical(output)[:, :n]
    numbers = expected + errors.to(output) * noise.normal_like(expected)
    return torch.cat([numbers, module.columns.draw(output)[:, n:]], 1)


def errors_of_guesses(net: AutoencoderNet, rows: Rows, n_numbers: int, generator: torch.Generator) -> Tensor:
    """Return the root mean squared error of guesses of hidden numbers, (n_numbers,), from some of the rows."""
    seen = rows.take(torch.randperm(len(rows), generator=generator, device="cpu")[: max(1, chunk_size(rows) // 4)])
    known = torch.ones_like(seen.x) if seen.observed is None else seen.observed
    uniform = torch.rand(seen.x.shape, generator=generator, dtype=torch.float32, device="cpu")
    kept = known * (uniform.to(known.device) >= HIDDEN)
    guesses = torch.from_numpy(net.apply(expected_cells, Rows(Batch(seen.x * kept, observed=kept))))
    squared_errors = (guesses - seen.x.cpu()).square()[:, :n_numbers]
    hidden = (known - kept).cpu()[:, :n_numbers]
    counted = hidden.sum(0)
    return torch.where(counted > 0, (hidden * squared_errors).sum(0) / counted.clamp(min=1), 1.0).sqrt()
