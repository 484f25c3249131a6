"""Bounds: values stay within, gradients go through."""

import torch

from sklearn_ae.modules.bounds import within
from sklearn_ae.modules.codes import GaussianCode


def test_values_are_kept_within_the_bound():
    assert within(torch.tensor([-7.0, -2.0, 0.5, 9.0]), 3.0).tolist() == [-3, -2, 0.5, 3]


def test_gradients_are_those_at_the_bound():
    t = torch.tensor([-7.0, 0.5, 9.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(within(t, 3.0).exp().sum(), t)
    assert torch.allclose(gradient, t.clamp(-3, 3).exp())


def test_a_stack_keeps_within_the_bound_as_one_does():
    t = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).mul(5).requires_grad_()
    stacked = torch.vmap(lambda row: within(row, 2.0).square())(t)
    assert torch.equal(stacked, within(t, 2.0).square())
    gradients = [torch.autograd.grad(out.sum(), t)[0] for out in (stacked, within(t, 2.0).square())]
    assert torch.equal(*gradients)


def test_a_code_that_spreads_too_far_comes_back():
    code = GaussianCode(1, 2)
    with torch.no_grad():
        code.log_variance.weight.fill_(0)
        code.log_variance.bias.copy_(torch.tensor([-50.0, 50.0]))
    log_var = code.log_var(torch.zeros(1, 1))
    (gradient,) = torch.autograd.grad(0.5 * (log_var.exp() - log_var).sum(), code.log_variance.bias)
    assert gradient[0] < 0 < gradient[1]
