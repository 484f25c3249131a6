"""Adam in one operation: it is torch's Adam, state and settings included."""

import ast
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

import sklearn_ae
from sklearn_ae.training.adam import Adam

SHAPES = [(3, 2), (3,), (2, 3), ()]
owning = pytest.mark.parametrize("owns", [True, False])


def parameters(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def gradients(step, dtype=torch.float64):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES]


def set_gradients(parameters, gradients):
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


class Pair:
    """Ours and torch's on the same parameters."""

    def __init__(self, owns=True, dtype=torch.float64, **settings):
        self.dtype = dtype
        self.own, self.theirs = parameters(dtype), parameters(dtype)
        self.adam = Adam(self.own, owns_parameters=owns, **settings)
        self.reference = torch.optim.Adam(self.theirs, **settings)

    def step(self, *steps):
        for step in steps:
            self.adam.step(gradients(step, self.dtype))
            set_gradients(self.theirs, gradients(step, self.dtype))
            self.reference.step()

    def set(self, **settings):
        for optimizer in (self.adam, self.reference):
            optimizer.param_groups[0].update(settings)

    def check(self, rtol=1e-12):
        for a, b in zip(self.own, self.theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)
        own, theirs = (optimizer.state_dict()["state"] for optimizer in (self.adam, self.reference))
        assert own.keys() == theirs.keys()
        for i in own:
            assert own[i].keys() == theirs[i].keys()
            for name in own[i]:
                torch.testing.assert_close(own[i][name], theirs[i][name], rtol=rtol, atol=rtol)


@owning
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"lr": 0.1, "betas": (0.5, 0.9)}, {"weight_decay": 0.3, "eps": 1e-3}])
def test_it_moves_as_the_adam_of_torch_does(settings, dtype, owns):
    pair = Pair(owns, dtype, **settings)
    pair.step(*range(10))
    pair.check(1e-12 if dtype is torch.float64 else 1e-6)


@owning
@pytest.mark.parametrize("change", [{"lr": 0.05}, {"lr": 0.0}, {"betas": (0.1, 0.2)}, {"weight_decay": 1.0}])
def test_settings_may_change_between_steps(change, owns):
    pair = Pair(owns)
    pair.step(0, 1)
    pair.set(**change)
    pair.step(2, 3)
    pair.check()


def test_a_scheduler_sets_the_rate():
    pair = Pair(lr=0.1)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in (pair.adam, pair.reference)]
    for step in range(4):
        pair.step(step)
        for scheduler in schedulers:
            scheduler.step()
    pair.check()


@owning
@pytest.mark.parametrize("Heir", [Adam, torch.optim.Adam])
def test_a_state_goes_over_to_another_one_and_to_torch(Heir, owns):
    pair = Pair(owns)
    pair.step(0, 1, 2)
    moved = [nn.Parameter(p.detach().clone()) for p in pair.own]
    heir = Heir(moved)
    heir.load_state_dict(deepcopy(pair.adam.state_dict()))
    if Heir is Adam:
        heir.step(gradients(3))
    else:
        set_gradients(moved, gradients(3))
        heir.step()
    pair.step(3)
    for a, b in zip(moved, pair.theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@owning
def test_a_state_may_be_loaded_between_steps(owns):
    pair = Pair(owns)
    pair.step(0, 1)
    states = [deepcopy(optimizer.state_dict()) for optimizer in (pair.adam, pair.reference)]
    pair.step(2, 3)
    for optimizer, state in zip((pair.adam, pair.reference), states, strict=True):
        optimizer.load_state_dict(state)
    pair.step(4, 5)
    pair.check()


def test_parameters_lie_side_by_side_until_they_are_separated():
    pair = Pair()
    pair.step(0)
    assert len({p.untyped_storage().data_ptr() for p in pair.own}) == 1
    before = [p.detach().clone() for p in pair.own]
    pair.adam.separate()
    tensors = [*pair.own, *(t for state in pair.adam.state.values() for t in state.values())]
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)
    assert all(map(torch.equal, pair.own, before))
    pair.step(1)
    pair.check()


def test_what_another_optimizer_moves_as_well_stays_where_it_is():
    pair = Pair(owns=False)
    places = [p.data_ptr() for p in pair.own]
    pair.step(0, 1)
    assert [p.data_ptr() for p in pair.own] == places


def test_a_parameter_that_was_moved_elsewhere_is_followed():
    pair = Pair()
    pair.step(0)
    for p in pair.own:
        p.data = p.data.clone()
    pair.step(1)
    pair.check()


def test_a_copy_goes_on_by_itself():
    pair = Pair()
    pair.step(0)
    copy = deepcopy(pair.adam)
    before = [p.detach().clone() for p in copy.parameters]
    pair.step(1)
    assert all(map(torch.equal, copy.parameters, before))
    copy.step(gradients(1))
    assert all(map(torch.equal, copy.parameters, pair.own))


def test_its_memory_stays_where_it_is():
    pair = Pair()
    memory = pair.adam.prepared()
    pair.step(0, 1)
    pair.set(lr=0.5)
    assert pair.adam.prepared() is memory
    assert memory.rate.item() == 0.5


def test_gradients_are_handed_in_and_none_is_kept():
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    Adam([parameter], lr=0.1).step([torch.tensor([3.0, -0.5])])
    assert parameter.tolist() == pytest.approx([0.9, -1.9])  # the first step of Adam goes by the sign
    assert parameter.grad is None


def test_every_parameter_needs_a_gradient():
    with pytest.raises(ValueError, match="zip"):
        Adam(parameters(), lr=0.1).step(gradients(0)[:-1])


def test_the_private_function_of_torch_is_called_in_one_place():
    trees = (ast.parse(path.read_text()) for path in Path(sklearn_ae.__file__).parent.rglob("*.py"))
    names = (node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    assert [name for name in names if "_fused_adam" in name] == ["_fused_adam_"]
