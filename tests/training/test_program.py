"""The program: what is replayed is what was recorded, whatever the operations."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_ae.training import program
from sklearn_ae.training.calls import address, tensors_in
from sklearn_ae.training.program import record


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def operations(replay):
    return len(replay.calls)


def agree(computation, inputs, fresh, rtol=1e-12):
    """Record on some inputs, replay on others, and compare with the computation itself."""
    result, replay = record(computation)
    for tensor, value in zip(inputs, fresh, strict=True):
        tensor.copy_(value)
    expected = [t.clone() for t in tensors_in(computation())]
    replay()
    for found, wanted in zip(tensors_in(result), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=rtol, atol=1e-12)
    return replay


def gradient_of(loss, *tensors):
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in tensors]
        value = loss(*leaves)
    return [value, *torch.autograd.grad(value, leaves)]


# Each takes (6, 4) and (6, 4) to a tensor of any shape.
FUNCTIONS = {
    "arithmetic": lambda a, b: (a * b - 2 * a + 1) / (b.square() + 1),
    "transposes": lambda a, b: a.t().t() @ b.t(),
    "the same view twice": lambda a, b: (a.t() @ b) * (a.t() @ a) - a.t() @ b,
    "batched product": lambda a, b: torch.bmm(a.unsqueeze(0), b.t().unsqueeze(0)),
    "constants": lambda a, b: a + torch.eye(4, dtype=a.dtype)[:1] * torch.ones_like(b) * 3,
    "a constant that is written": lambda a, b: torch.zeros_like(a).add_(b).mul_(a),
    "in place": lambda a, b: (a * 1).add_(b).mul_(2).relu_(),
    "squeeze in place": lambda a, b: (a * b).sum(1, keepdim=True).squeeze_(1) + 1,
    "writing a part": lambda a, b: torch.cat([a, b]).clone().index_fill_(0, torch.tensor([1, 3]), 0.0),
    "a column written": lambda a, b: (a * 2).index_copy_(1, torch.tensor([0]), b[:, :1]),
    "column sums": lambda a, b: (a * b).sum(0) + b.sum([0]),
    "kept column sums": lambda a, b: (a * b).sum(0, keepdim=True) * a,
    "row sums": lambda a, b: (a * b).sum(-1) + b.sum([1]),
    "mean of rows": lambda a, b: (a * b).sum(1).mean(),
    "numbers": lambda a, b: (1 - a * 0.3 + 2) / 7 + torch.add(b, 2, alpha=3) - (a >= 0.1) * 1 - (b < 0).sum() / 3,
    "sums over all": lambda a, b: a.sum() * b.mean() + (a * b).sum([0, 1]),
    "several results": lambda a, b: F.layer_norm(a, (4,)) * b,
    "a part of the results": lambda a, b: a.max(1).values + b.min(1).values,
    "sorted": lambda a, b: (a + b).sort(1).values,
    "parts": lambda a, b: torch.stack([part.sum(1) for part in (a * b).split(2, 1)]),
    "rows by number": lambda a, b: a[torch.tensor([0, 0, 5])] * b[:3],
    "activations": lambda a, b: F.silu(a) + F.elu(b) + F.gelu(a) + b.sigmoid() + a.tanh() + F.relu(b),
    "likelihoods": lambda a, b: F.binary_cross_entropy_with_logits(a, b.sigmoid()) + F.mse_loss(a, b),
    "log-sigmoid": lambda a, b: F.logsigmoid(a) + F.softplus(b),
    "softmax and gather": lambda a, b: a.log_softmax(1).gather(1, torch.zeros(6, 1, dtype=torch.int64)) + b,
    "where": lambda a, b: torch.where(a > b, a, b.exp()),
    "another precision": lambda a, b: (a.float() * 2).double() + b,
    "integers": lambda a, b: (a > 0).sum(0) + (b > 0).sum(0),
    "expanded": lambda a, b: a.unsqueeze(1).expand(6, 3, 4).contiguous() * b.unsqueeze(1),
    "told where by name": lambda a, b: torch.add(a, b, alpha=2, out=torch.empty_like(a)) * torch.mul(a, 2, out=a * 1),
    "several told where": lambda a, b: torch.sort(a, 1, out=(b * 1, torch.zeros(6, 4, dtype=torch.int64)))[0] + b,
    "a number made a tensor, and added to": lambda a, b: torch.tensor(0.0, dtype=a.dtype).add_(a.sum()).add_(b.sum()),
    "numbers of Python": lambda a, b: a * torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=a.dtype) + b[[0, 0, 1, 2, 3, 4]],
    "nothing read": lambda a, b: torch.full_like(a, 2.0),
}
NO_GRADIENT = ["integers", "nothing read", "told where by name", "several told where"]
functions = pytest.mark.parametrize("name", FUNCTIONS)


@functions
def test_what_is_replayed_is_what_was_recorded(name):
    a, b = numbers(6, 4), numbers(6, 4, seed=1)
    agree(lambda: FUNCTIONS[name](a, b), [a, b], [numbers(6, 4, seed=2), numbers(6, 4, seed=3)])


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in NO_GRADIENT])
def test_gradients_are_replayed_as_well(name):
    a, b = numbers(6, 4), numbers(6, 4, seed=1)

    def computation():
        return gradient_of(lambda a, b: (FUNCTIONS[name](a * 1, b * 1).square() + 0 * (a + b).sum()).sum(), a, b)

    agree(computation, [a, b], [numbers(6, 4, seed=2), numbers(6, 4, seed=3)])


def test_the_statistics_of_batch_norm_are_replayed():
    x = numbers(6, 4)
    replayed, written = (nn.BatchNorm1d(4, dtype=torch.float64) for _ in range(2))
    result, replay = record(lambda: replayed(x))
    expected = written(x)
    for seed in range(3):
        x.copy_(numbers(6, 4, seed=seed))
        replay()
        expected = written(x)
    torch.testing.assert_close(result, expected.detach())
    for found, wanted in zip(replayed.buffers(), written.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_what_is_told_where_its_result_goes_is_trusted_if_it_does_the_same(monkeypatch):
    def is_wrong(x, out):
        return torch.sin(x, out=out)

    def fails(x, out):
        raise TypeError("takes no out")

    a, b = numbers(6, 4), numbers(6, 4, seed=1)
    for function in (is_wrong, fails):
        monkeypatch.setattr(program, "WAYS", {})
        monkeypatch.setattr(torch, "tanh", function)
        monkeypatch.setattr(torch, "sigmoid_", lambda x: x.fill_(0))
        computation = lambda: (a.tanh() + b * 1).sigmoid_()  # noqa: E731
        replay = agree(computation, [a, b], [numbers(6, 4, seed=2), numbers(6, 4, seed=3)])
        assert operations(replay) == 4
        assert all(call.func not in (function, torch.sigmoid_) for call in replay.calls)


def test_gradients_under_vmap_are_replayed():
    a, b = numbers(5, 6, 4), numbers(5, 4, 3, seed=1)

    def one(a, b):
        return torch.func.grad(lambda b: (a @ b).tanh().square().sum())(b)

    agree(lambda: torch.vmap(one)(a, b), [a, b], [numbers(5, 6, 4, seed=2), numbers(5, 4, 3, seed=3)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_is_replayed(dtype):
    x = numbers(6, 4, dtype=torch.float32)
    layer = nn.Linear(4, 3)
    nn.init.constant_(layer.weight, 0.3)

    def computation():
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            loss = layer(x).float().square().sum()
        return torch.autograd.grad(loss, layer.weight)

    agree(computation, [x], [numbers(6, 4, seed=2, dtype=torch.float32)], rtol=1e-6)


def test_a_computation_moves_what_it_is_bound_to():
    weight = nn.Parameter(torch.ones(2))
    rate = torch.tensor(0.5)

    def descend():
        (gradient,) = torch.autograd.grad(weight.square().sum(), [weight])
        with torch.no_grad():
            weight.sub_(rate * gradient * 0.5)
        return {"gradient": gradient}

    result, replay = record(descend)
    assert weight.tolist() == [0.5, 0.5]
    replay()
    assert weight.tolist() == [0.25, 0.25]
    assert result["gradient"].tolist() == [1, 1]
    rate.fill_(1.0)
    replay()
    assert weight.tolist() == [0, 0]


# What is left out


def test_views_constants_and_what_nobody_reads_are_left_out():
    a, b = numbers(6, 4), numbers(6, 4, seed=1)

    def computation():
        (a + b).exp()  # never read
        constant = torch.ones_like(a) * 3 + torch.full((4,), 2.0, dtype=a.dtype)
        return a.t().t().view(6, 4) * constant

    _, replay = record(computation)
    assert operations(replay) == 1


def test_a_linear_layer_comes_down_to_its_products():
    layer, x = nn.Linear(4, 3), numbers(6, 4, dtype=torch.float32)
    _, replay = record(lambda: torch.autograd.grad(layer(x).relu().sum(), list(layer.parameters())))
    assert operations(replay) == 5  # forward, relu, its derivative, and a product for weight and bias each


def test_a_result_is_computed_where_it_is_copied_to():
    a, b, home = numbers(6, 4), numbers(6, 4, seed=1), torch.zeros(2, 6, 4, dtype=torch.float64)

    def computation():
        home[0].copy_(a * b)
        home[1].copy_(a + b)
        return home.sum()

    replay = agree(computation, [a, b], [numbers(6, 4, seed=2), numbers(6, 4, seed=3)])
    assert operations(replay) == 3


HAZARDS = {
    "the home is read in between": lambda a, b, home: [(s := a * b), home * 2, home.copy_(s)][1],
    "the home is written in between": lambda a, b, home: [(s := a * b), home.copy_(b), b + home, home.copy_(s)][2],
    "the source is read later": lambda a, b, home: [(s := a * b), home.copy_(s), home.mul_(2), s + 1][3],
    "the source is a part": lambda a, b, home: [home.copy_(torch.cat([a, b])[:6])][0] * 1,
    "the source is transposed": lambda a, b, home: [home.copy_((b.t() * a.t()).t())][0] * 1,
    "the source is returned": lambda a, b, home: [(s := a * b), home.copy_(s), home.mul_(2), s][3],
    "the source is broadcast": lambda a, b, home: [home.copy_((a * b)[0])][0] * 1,
    "the source has another precision": lambda a, b, home: [home.copy_((a * b).float())][0] * 1,
    "a view of the home is read in between": lambda a, b, home: [(s := a * b), home[1:, 1] * 2, home.copy_(s)][1],
}


@pytest.mark.parametrize("name", HAZARDS)
def test_a_copy_stays_where_somebody_else_would_notice(name):
    a, b, home, other = numbers(6, 4), numbers(6, 4, seed=1), numbers(6, 4, seed=5), numbers(6, 4, seed=5)
    result, replay = record(lambda: HAZARDS[name](a, b, home))
    HAZARDS[name](a, b, other)
    a.copy_(numbers(6, 4, seed=2))
    b.copy_(numbers(6, 4, seed=3))
    replay()
    expected = HAZARDS[name](a, b, other)
    assert torch.equal(result, expected)
    assert torch.equal(home, other)


# Each takes products (3, 40, 8) of (3, 40, 5) and (3, 5, 8), and memory for copies of them.
USERS = {
    "it is only copied": lambda product, there, turned: there.copy_(product),
    "its transpose is only copied": lambda product, there, turned: turned.copy_(product.mT),
    "both are copied": lambda product, there, turned: (there.copy_(product), turned.copy_(product.mT)),
    "a part is copied": lambda product, there, turned: there[:, :7].copy_(product[:, 2:9]),
    "cells are copied in another order": lambda product, there, turned: there.copy_(product.view(3, 8, 40).mT),
    "a part is written": lambda product, there, turned: (
        product[:, :7].copy_(there[:, :7]),
        turned.copy_(product.mT),
    ),
    "it is computed with": lambda product, there, turned: there.copy_(product + 1),
    "it is changed": lambda product, there, turned: there.copy_(product.mul_(2)),
    "it is a result": lambda product, there, turned: there.copy_(product).sum() + product,
}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS)
def test_narrow_products_are_the_same_whichever_way_round_they_are_computed(use):
    a, b, there, turned = numbers(3, 40, 5), numbers(3, 5, 8, seed=1), numbers(3, 40, 8), numbers(3, 8, 40)

    def computation():
        result = use(torch.bmm(a, b), there, turned)
        return [there, turned, *(tensors_in(result))]

    agree(computation, [a, b], [numbers(3, 40, 5, seed=2), numbers(3, 5, 8, seed=3)])


def test_a_narrow_product_that_is_only_copied_needs_no_turning_back():
    a, b, there = numbers(3, 40, 5), numbers(3, 5, 8), numbers(3, 8, 40).mT
    _, replay = record(lambda: there.copy_(torch.bmm(a, b)))
    product, _ = replay.calls
    assert product.func is torch.bmm
    assert product.keywords["out"].shape == (3, 8, 40)


def test_memory_is_used_again_and_results_keep_theirs():
    a = numbers(100, 100)

    def computation():
        x, first = a, None
        for step in range(20):
            x = x * 1.01 + step
            first = x if first is None else first
        return first, x

    (first, last), replay = record(computation)
    tensors = [t for call in replay.calls for t in tensors_in((call.args, call.keywords))]
    assert len({address(t) for t in tensors if t.shape == (100, 100)}) <= 6  # of 41
    before = first.clone(), last.clone()
    replay()
    assert torch.equal(first, before[0])
    assert torch.equal(last, before[1])


# In threads


def test_threads_record_at_the_same_time():
    wrong = []

    def work(seed):
        a, b = numbers(6, 4, seed=seed), numbers(6, 4, seed=seed + 100)
        try:
            agree(lambda: gradient_of(lambda a, b: (a @ b.t()).tanh().sum(), a, b), [a, b], [b.clone(), a.clone()])
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
