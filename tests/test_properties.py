"""What every family in every variant must have."""

import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch.func import functional_call, grad_and_value

from sklearn_ae.model.samples import Samples
from sklearn_ae.modules import noise
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.tables.sources import Array
from sklearn_ae.training.batches import EqualBatches, Rows
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.phases import gradients, requests
from tests.families import INTRICATE, SMALL, VARIANTS, covering

SHARED = [n for n in covering() if not any(part in n.values[0] for part in ("dropout", "masked", "noisy"))]
# What a loss, a phase or its noise may break is looked at in every variant, what a table or a copy may break in those
# that have all parts of a fit between them.
every_variant = pytest.mark.parametrize("name", VARIANTS)
covering_variants = pytest.mark.parametrize("name", covering())
TASKS = ["classification", "regression", None]


def table(n=40, d=5, seed=0):
    random = np.random.RandomState(seed)
    codes = random.normal(size=(n, 2))
    X = 1 / (1 + np.exp(-3 * codes @ random.normal(size=(2, d)) - 0.3 * random.normal(size=(n, d))))
    return X, (codes[:, 0] > 0).astype(int)


def fitted(name, X, y=None, **changes):
    return VARIANTS[name](**{**SMALL, **changes}).fit(X, y)


def rows_of(model, X, y):
    return Samples(Array(X), y).encoded(model.model_.encoding, model.model_.target, model.net_)


def module_and_batch(name, n=6, seed=0):
    """A module after a few steps, a batch, and the noise that each phase asks for on it, in double precision."""
    X, y = table(n=20, seed=seed)
    model = fitted(name, X, y)
    module = model.module_.train()
    rows = rows_of(model, X, y).slice(0, n)
    asked = {phase.name: requests(module, phase, rows) for phase in model.net_.phases}
    (batch,) = EqualBatches(Rows(rows), n, torch.Generator().manual_seed(seed), asked)
    return model, module, rows, batch.draws


@pytest.mark.parametrize(
    ("task", "name"),
    [
        pytest.param(task, *name.values, marks=name.marks)
        for task in TASKS
        for name in (covering() if task == "classification" else covering(INTRICATE))
    ],
)
def test_everything_that_a_user_calls_works_with_and_without_y(name, task):
    X, y = table()
    for target in (y, None):
        model = fitted(name, X, target, task=task)
        codes = model.transform(X)
        assert codes.shape == (40, 2)
        assert model.inverse_transform(codes).shape == X.shape
        assert model.score_samples(X).shape == (40,)
        assert model.sample(7, random_state=0).shape == (7, 5)
        assert np.isfinite(model.history_.to_numpy()).all()
        assert model.n_iter_ == len(model.loss_curve_) == len(model.history_) == 4
        assert np.isfinite(model.score(X, target))
        assert hasattr(model, "predict") == (task is not None and target is not None)
        assert hasattr(model, "predict_proba") == (task == "classification" and target is not None)
        assert list(model.get_feature_names_out()) == [f"{type(model).__name__.lower()}{i}" for i in range(2)]


@covering_variants
def test_training_lowers_the_reconstruction_error(name):
    X, _ = table(n=200)
    model = fitted(name, X, max_iter=60, learning_rate=1e-2, batch_size=50, linear_path=False)  # which begins at PCA
    error = np.square(X - model.inverse_transform(model.transform(X))).sum(1).mean()
    assert error < 0.6 * np.square(X - X.mean(0)).sum(1).mean()


def in_one_batch_and_several(several):
    """Every variant in several batches, and those that have all parts of a fit between them in one."""
    sizes = {several: covering(VARIANTS), "auto": covering()}
    names = [pytest.param(size, *name.values, marks=name.marks) for size, of_size in sizes.items() for name in of_size]
    return pytest.mark.parametrize(("batch_size", "name"), names)


@in_one_batch_and_several(16)
def test_the_same_seed_gives_the_same_fit(name, batch_size):
    X, y = table()
    one, other = (fitted(name, X, y, batch_size=batch_size, max_iter=2) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    np.testing.assert_array_equal(one.sample(5, random_state=1), other.sample(5, random_state=1))
    assert one.loss_curve_ == other.loss_curve_
    assert one.loss_curve_ != fitted(name, X, y, batch_size=batch_size, max_iter=2, random_state=1).loss_curve_


@covering_variants
def test_nothing_global_is_touched(name):
    X, y = table()
    np.random.seed(1)  # noqa: NPY002 - the global state is what is looked at
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_default_dtype()  # noqa: NPY002
    fitted(name, X, y, batch_size=16).sample(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_default_dtype() == before[2]


@covering_variants
def test_a_pickle_gives_the_same_answers_and_can_go_on(name):
    X, y = table()
    model = fitted(name, X, y)
    copy = pickle.loads(pickle.dumps(model))
    for method in ("transform", "score_samples", "score_cells", "explain_codes", "predict"):
        np.testing.assert_array_equal(getattr(model, method)(X), getattr(copy, method)(X))
    np.testing.assert_array_equal(model.partial_fit(X, y).transform(X), copy.partial_fit(X, y).transform(X))


@covering_variants
def test_a_row_is_scored_and_encoded_by_itself(name):
    X, y = table()
    model = fitted(name, X, y)
    for method in ("transform", "score_samples", "score_cells", "predict_proba"):
        whole = getattr(model, method)(X)
        parts = np.concatenate([getattr(model, method)(X[i : i + 7]) for i in range(0, 40, 7)])
        np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SHARED)
def test_in_one_full_batch_a_row_twice_is_a_row_of_weight_two(name):
    X, y = table()
    weight = np.random.RandomState(1).randint(0, 4, size=len(X)).astype(float)
    weighted = VARIANTS[name](**SMALL).fit(X, y, sample_weight=weight)
    repeated = VARIANTS[name](**SMALL).fit(np.repeat(X, weight.astype(int), axis=0), np.repeat(y, weight.astype(int)))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9, atol=1e-9)


@in_one_batch_and_several(8)
def test_a_weight_of_zero_is_the_same_as_no_row(name, batch_size):
    X, y = table()
    weight = np.random.RandomState(1).randint(0, 3, size=len(X)).astype(float)
    settings = SMALL | {"batch_size": batch_size, "max_iter": 2}
    zero = VARIANTS[name](**settings).fit(X, y, sample_weight=weight)
    kept = weight > 0
    without = VARIANTS[name](**settings).fit(X[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(zero.transform(X), without.transform(X))


@every_variant
def test_a_phase_gives_gradients_to_all_that_it_moves(name):
    model, module, rows, draws = module_and_batch(name)
    for phase in model.net_.phases:
        moved = phase.parameters(module)
        found, _ = gradients(module, phase, list(moved.values()), rows, draws[phase.name])
        idle = [name for name, gradient in zip(moved, found, strict=True) if not gradient.abs().sum() > 0]
        assert idle == []
        assert all(parameter.grad is None for parameter in module.parameters())


@every_variant
def test_a_phase_moves_its_own_submodules_only(name):
    X, y = table()
    model = fitted(name, X, y)
    module, optimizers = model.module_, model.net_.optimizers
    for phase in model.net_.phases:
        before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
        net = AutoencoderNet(module, [phase], phase, optimizers, batch_size=64, verbose=0).initialize()
        net.train_step(next(iter(net.get_iterator(rows_of(model, X, y), training=True))))
        after = module.state_dict()
        changed = {key.split(".")[0] for key in after if not torch.equal(before[key], after[key])}
        allowed = set(phase.updates) | ({"likelihood"} if phase.buffers else set())
        moved = {name.split(".")[0] for name in phase.parameters(module)}
        assert moved <= changed <= allowed
        assert set(phase.updates) - moved <= {"likelihood"}  # which has nothing to move where all are numbers


@every_variant
def test_gradients_agree_with_finite_differences(name):
    model, module, rows, draws = module_and_batch(name)
    generator = torch.Generator().manual_seed(1)
    for phase in model.net_.phases:
        moved = list(phase.parameters(module).values())
        found, _ = gradients(module, phase, moved, rows, draws[phase.name])
        direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in moved]

        def loss(step, phase=phase, moved=moved, direction=direction):
            with torch.no_grad():
                for parameter, way in zip(moved, direction, strict=True):
                    parameter.add_(way, alpha=step)
            _, evaluation = gradients(module, phase, moved, rows, draws[phase.name])
            with torch.no_grad():
                for parameter, way in zip(moved, direction, strict=True):
                    parameter.sub_(way, alpha=step)
            return evaluation.loss

        step = 1e-5
        slope = sum((g * w).sum() for g, w in zip(found, direction, strict=True))
        torch.testing.assert_close((loss(step) - loss(-step)) / (2 * step), slope, rtol=1e-5, atol=1e-6)


class PhaseLoss(torch.nn.Module):
    """A phase as one function of parameters, rows and noise."""

    def __init__(self, module, phase):
        super().__init__()
        self.module, self.phase = module, phase

    def forward(self, rows, draws):
        with noise.supplied(draws):
            evaluation = self.phase.evaluate(self.module, rows)
        return evaluation.loss, (evaluation.terms, evaluation.buffers)


@every_variant
def test_models_run_side_by_side_as_each_would_alone(name):
    """Nothing in a phase stands in the way of training many models as one program."""
    one, another = (module_and_batch(name, seed=seed) for seed in (0, 1))
    for first, second in zip(one[0].net_.phases, another[0].net_.phases, strict=True):
        wrapped = PhaseLoss(one[1], first)
        alone = []
        for _, module, rows, draws in (one, another):
            moved = list(first.parameters(module).values())
            alone.append(gradients(module, first, moved, rows, draws[first.name]))
        names = [f"module.{key}" for key in first.parameters(one[1])]
        modules = [module for _, module, *_ in (one, another)]
        states = [{f"module.{key}": t.detach() for key, t in module.state_dict().items()} for module in modules]
        state = {key: torch.stack([s[key] for s in states]) for key in states[0]}
        moved, fixed = {k: state[k] for k in names}, {k: v for k, v in state.items() if k not in names}

        def loss(moved, fixed, rows, draws, wrapped=wrapped):
            return functional_call(wrapped, {**moved, **fixed}, (Batch(**rows), draws))

        rows = {
            key: torch.stack([getattr(case[2], key) for case in (one, another)])
            for key in Batch._fields
            if getattr(one[2], key) is not None
        }
        draws = [torch.stack(pair) for pair in zip(one[3][first.name], another[3][second.name], strict=True)]
        found, (_, (terms, _)) = torch.vmap(grad_and_value(loss, has_aux=True))(moved, fixed, rows, draws)
        for k, (expected, evaluation) in enumerate(alone):
            for gradient, want in zip(found.values(), expected, strict=True):
                torch.testing.assert_close(gradient[k], want, rtol=1e-9, atol=1e-11)
            for key, term in evaluation.terms.items():
                torch.testing.assert_close(terms[key][k], term, rtol=1e-9, atol=1e-11)


class Listener(Callback):
    """Hears of every batch."""

    def __init__(self):
        self.losses = []

    def on_batch_end(self, net, training=None, loss=None, **kwargs):
        self.losses.append((training, float(loss)))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert all(parameter.grad is not None for _, parameter in named_parameters)


@pytest.mark.parametrize("name", [name for name in covering() if VARIANTS[name.values[0]]().n_members == 1])
def test_a_callback_that_listens_to_batches_changes_nothing(name):
    X, y = table()
    listener = Listener()
    heard = fitted(name, X, y, batch_size=16, callbacks=[listener])
    alone = fitted(name, X, y, batch_size=16)
    np.testing.assert_array_equal(heard.transform(X), alone.transform(X))
    assert len(listener.losses) == 4 * 3  # epochs, batches
    np.testing.assert_allclose(np.mean([loss for _, loss in listener.losses[-3:]]), heard.loss_, rtol=1e-6)


@covering_variants
def test_missing_cells_are_accepted_and_their_place_in_the_array_does_not_matter(name):
    X, y = table()
    X[np.random.RandomState(0).uniform(size=X.shape) < 0.2] = np.nan
    model = fitted(name, X, y)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(3)).all()
