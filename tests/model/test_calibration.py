"""Calibration: drawn cells are as far from hidden ones as they are from each other."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_ae.likelihoods.categories import Categorical
from sklearn_ae.likelihoods.gaussian import UnitGaussian
from sklearn_ae.model.calibration import Calibration, HiddenCells, without_some_cells
from sklearn_ae.modules.noise import generator
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.batches import Rows
from tests.families import tiny

N = 300
SETTINGS = {  # the training rows are memorised
    **{"hidden_layer_sizes": (128,), "n_components": 8, "corruption_level": 0.3, "early_stopping": False},
    **{"max_iter": 150, "learning_rate": 0.02, "batch_size": 64},
}


def noisy_table(n=N):
    """Return rows of which a network can learn something, but much less than it can memorise."""
    random = np.random.RandomState(0)
    z = random.normal(size=(n, 2))
    numbers = z[:, [0, 0, 1, 1]] + random.normal(size=(n, 4)) * [0.3, 1, 0.3, 1]
    table = pd.DataFrame(numbers, columns=list("abcd"))
    for name, score in [("u", z[:, 0]), ("v", z[:, 1]), ("w", z.sum(1))]:
        table[name] = np.where(score + 1.5 * random.normal(size=n) > 0, "yes", "no")
    return table


@pytest.fixture(scope="module", params=[1, 3])
def cells(request):
    """Return hidden cells of numbers and of categories, and what is drawn for them: truth, draws."""
    table = noisy_table()
    gone = np.random.RandomState(1).uniform(size=table.shape) < 0.2
    model = tiny(**SETTINGS, n_members=request.param, unseen_fraction=0.1)
    draws = model.fit(table.mask(gone)).impute(table.mask(gone), n_draws=60, random_state=0)
    numbers, categories = list("abcd"), list("uvw")
    return [
        (table[of].to_numpy()[gone_of], np.stack([draw[of].to_numpy()[gone_of] for draw in draws]))
        for of, gone_of in [(numbers, gone[:, :4]), (categories, gone[:, 4:])]
    ]


def test_intervals_cover_hidden_numbers(cells):
    truth, draws = cells[0]
    low, high = np.quantile(draws.astype(float), [0.05, 0.95], axis=0)
    # Of the cells 0.9 * 59 / 61 lie between these quantiles of 60 draws.
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.87, abs=0.05)


def test_drawn_categories_agree_with_the_truth_as_often_as_with_each_other(cells):
    truth, draws = cells[1]
    assert (draws == truth).mean() == pytest.approx((draws[1:] == draws[:-1]).mean(), abs=0.05)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("validation", [[[0.1, 300.0]], [[0.1, 300.0], [0.3, np.nan]]])
def test_a_column_without_errors_in_training_has_finite_noise(validation, members):
    """A fit to one row has none. A noise that is NaN would put draws on the bounds of the columns."""
    model = tiny(n_members=members).fit([[0.1, 300.0]], X_val=np.array(validation))
    assert model.model_.inference.calibration.errors.isfinite().all()


@pytest.mark.parametrize("gaps", [False, True])
def test_unseen_cells_are_missing_for_the_training(gaps):
    x = torch.rand(500, 4, generator=generator(0)) + 1
    observed = torch.rand(500, 4, generator=generator(1)) < 0.8 if gaps else None
    x = x * observed if gaps else x
    known = torch.ones(500, 4, dtype=torch.bool) if observed is None else observed
    rows, unseen = without_some_cells(Rows(Batch(x, observed=observed)), 0.1, np.random.RandomState(2))
    assert torch.equal(rows.table.observed ^ unseen.hidden, known)
    assert not (rows.table.observed & unseen.hidden).any()
    assert unseen.hidden[known].double().mean() == pytest.approx(0.1, abs=0.03)
    assert not rows.table.x[~rows.table.observed].any()
    some = unseen.some(generator(3))
    assert torch.equal(some.x * (some.kept + some.hidden), some.x)  # its known cells are all known cells
    assert int(some.hidden.sum()) == int(unseen.hidden.sum())


def test_all_cells_are_seen_by_default():
    rows = Rows(Batch(torch.ones(5, 2)))
    assert without_some_cells(rows, 0.0, np.random.RandomState(0)) == (rows, None)


def test_hidden_cells_are_not_read():
    x = torch.rand(300, 3, generator=generator(0)) + 1
    cells = HiddenCells.of(Rows(Batch(x)), generator(1))
    assert torch.equal(cells.kept + cells.hidden, torch.ones_like(cells.x))
    assert cells.hidden.mean().item() == pytest.approx(0.2, abs=0.05)


def test_temperatures_are_those_of_the_greatest_likelihood():
    likelihood = Categorical([2, 3])
    random = np.random.RandomState(0)
    logits = torch.from_numpy(random.normal(size=(4000, 5)) * 2).float()
    with_noise = likelihood.link(logits)
    uniform = torch.from_numpy(random.uniform(size=(4000, 2)))
    first = 1 + (with_noise[:, 1] > uniform[:, 0]).float()
    second = 1 + (with_noise[:, 2:].cumsum(1) < uniform[:, 1:]).sum(1).float().clamp(max=2)
    x = torch.stack([first, second], 1)
    too_sure = torch.cat([logits[:, :2] * 3, logits[:, 2:]], 1)[None]
    found = likelihood.temperatures(x, too_sure, torch.ones_like(x))
    assert found.tolist() == pytest.approx([3, 1], rel=0.15)
    assert torch.allclose(likelihood.tempered(too_sure[0], torch.tensor([3.0, 1.0])), logits, atol=1e-5)


def test_a_column_with_few_cells_has_the_temperature_of_all():
    likelihood = Categorical([2, 2])
    logits = torch.tensor([[4.0, 0.0, 4.0, 0.0]]).expand(200, 4)
    x = torch.ones(200, 2)
    x[:80, 0] = 2  # the first column is wrong in 80 of 200 rows
    weight = torch.ones(200, 2)
    weight[1:, 1] = 0  # and of the second one a single cell is known, which is wrong
    x[0, 1] = 2
    first, second = likelihood.temperatures(x, logits[None], weight).tolist()
    assert first > 5
    assert second > 3


class Stubbed(HiddenCells):
    """Hidden cells of value 0 that two members fill with 1 and 3."""

    def outputs(self, nets):
        return torch.stack([torch.full_like(self.x, 1.0), torch.full_like(self.x, 3.0)])


def test_the_noise_of_members_is_the_error_of_their_mean_without_their_differences():
    x = torch.zeros(50, 2)
    net = SimpleNamespace(module_=SimpleNamespace(likelihood=UnitGaussian(2)))
    errors = Calibration.fit([net, net], Stubbed(x, x, x + 1), None, 2).errors
    assert errors.tolist() == pytest.approx([3**0.5] * 2)  # the mean is wrong by 2, and the members vary by 1
