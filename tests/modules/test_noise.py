"""Noise as data: who asks, who answers, and what the noise layers do with the numbers."""

import threading
from contextlib import suppress

import pytest
import torch

from sklearn_ae.modules import noise
from sklearn_ae.modules.noise import CORRUPTIONS, EXTRA, CopiedGaps, Dropout, GaussianNoise, Masking, Request

LIKE = torch.zeros(3, 2, dtype=torch.float64)
ASKING = {
    "normal_like": (noise.normal_like, Request("normal", (2,), per_row=True)),
    "uniform_like": (noise.uniform_like, Request("uniform", (2,), per_row=True)),
    "normal": (lambda like: noise.normal((4, 5), like), Request("normal", (4, 5), per_row=False)),
}
asking = pytest.mark.parametrize(("ask", "request_"), ASKING.values(), ids=ASKING)


def gaussian(sigma):
    return GaussianNoise(sigma, n_scaled=3)


def through(layer, x):
    """What a layer makes of rows; a corruption returns the mask as well."""
    return layer(x) if isinstance(layer, Dropout) else layer(x)[0]


LAYERS = {"dropout": Dropout, "mask": Masking, "gaussian": gaussian}
layers = pytest.mark.parametrize("Layer", LAYERS.values(), ids=LAYERS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Who answers


@asking
def test_asking_where_nothing_was_handed_in_raises(ask, request_):
    with pytest.raises(RuntimeError, match="got no numbers"):
        ask(LIKE)


@asking
def test_what_is_handed_in_comes_back_in_order(ask, request_):
    first, second = torch.ones(1), torch.ones(2)
    with noise.supplied([first, second]):
        assert ask(LIKE) is first
        assert ask(LIKE) is second


def test_asking_for_more_than_was_handed_in_raises():
    with noise.supplied([LIKE]):
        noise.normal_like(LIKE)
        with pytest.raises((RuntimeError, StopIteration)):
            noise.normal_like(LIKE)


@asking
def test_a_recorded_request_says_kind_and_shape_and_is_answered_with_zeros(ask, request_):
    with noise.recorded() as asked:
        answer = ask(LIKE)
    assert asked == [request_]
    assert answer.dtype == LIKE.dtype
    assert answer.shape == ((3, *request_.shape) if request_.per_row else request_.shape)
    assert not answer.any()


@asking
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drawn_scaled_come_from_the_generator_only(ask, request_, dtype):
    before = torch.get_rng_state()
    with noise.drawn(generator()):
        first, second = ask(LIKE.to(dtype)), ask(LIKE.to(dtype))
    with noise.drawn(generator()):
        again = ask(LIKE.to(dtype))
    assert first.dtype == dtype
    assert first.shape == ((3, *request_.shape) if request_.per_row else request_.shape)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("ask", "mean", "variance"),
    [(noise.normal_like, 0.0, 1.0), (noise.uniform_like, 0.5, 1 / 12)],
    ids=["normal", "uniform"],
)
def test_drawn_scaled_have_the_moments_of_their_kind(ask, mean, variance):
    like = torch.zeros(20_000, 2, dtype=torch.float64)
    with noise.drawn(generator()):
        numbers = ask(like)
    assert numbers.mean().item() == pytest.approx(mean, abs=4 * (variance / numbers.numel()) ** 0.5)
    assert numbers.var().item() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("per_row", [True, False])
def test_a_request_draws_for_all_rows_or_for_all_batches(per_row):
    numbers = Request("normal", (4, 5), per_row).draw(6, 2, generator(), torch.float64)
    assert numbers.shape == (6 if per_row else 2, 4, 5)
    assert len(numbers.unique()) == numbers.numel()


@asking
def test_inside_once_for_the_batch_nothing_is_asked_for_by_row(ask, request_):
    draws = torch.arange(20.0)
    with noise.recorded() as asked, noise.once_for_the_batch():
        answer = ask(LIKE)
    shape = (3, *request_.shape) if request_.per_row else request_.shape
    assert asked == [Request(request_.kind, shape, per_row=False)]
    assert answer.shape == shape
    with noise.supplied([draws, draws]), noise.once_for_the_batch():
        assert ask(LIKE) is draws
    with pytest.raises(RuntimeError, match="got no numbers"), noise.once_for_the_batch():
        ask(LIKE)


def test_a_source_ends_with_its_block_and_the_outer_one_answers_again():
    outer, inner = torch.zeros(1), torch.ones(1)
    with noise.supplied([outer]):
        with suppress(KeyError), noise.supplied([inner]):
            assert noise.normal_like(LIKE) is inner
            raise KeyError
        assert noise.normal_like(LIKE) is outer
    with pytest.raises(RuntimeError, match="got no numbers"):
        noise.normal_like(LIKE)


def test_the_sources_of_threads_do_not_mix():
    n_threads = 4
    all_inside = threading.Barrier(n_threads + 1, timeout=10)
    answers = {}

    def work(i):
        own = torch.full((1,), float(i))
        with noise.supplied([own, own]):
            all_inside.wait()
            answers[i] = noise.normal_like(LIKE)
            all_inside.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    all_inside.wait()  # every thread has handed in its own numbers, and this one none
    with pytest.raises(RuntimeError, match="got no numbers"):
        noise.normal_like(LIKE)
    all_inside.wait()
    for thread in threads:
        thread.join()
    assert {i: answer.item() for i, answer in answers.items()} == {i: float(i) for i in range(n_threads)}


def test_a_thread_does_not_inherit_a_source():
    failed = []

    def work():
        try:
            noise.normal_like(LIKE)
        except RuntimeError as error:
            failed.append(error)

    with noise.supplied([LIKE]):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(failed) == 1


# The layers


def test_dropout_is_off_in_eval_mode():
    x = torch.randn(3, 2, generator=generator())
    assert torch.equal(Dropout(0.4).eval()(x), x)  # and asks for nothing: asking would raise


@layers
def test_a_noise_layer_asks_once_for_each_row(Layer):
    with noise.recorded() as asked:
        Layer(0.4)(torch.ones(3, 2))
    assert asked == [Request("normal" if Layer is gaussian else "uniform", (2,), per_row=True)]


X = torch.tensor([[2.0, -4.0, 6.0]])
UNIFORM = torch.tensor([[0.1, 0.25, 0.9]])


@pytest.mark.parametrize(
    ("layer", "numbers", "expected"),
    [
        (Dropout(0.25), UNIFORM, [[0.0, -4.0 / 0.75, 8.0]]),  # kept from the probability on, and scaled up
        (Masking(0.25), UNIFORM, [[0.0, -4.0, 6.0]]),
        (GaussianNoise(0.5, 3), torch.tensor([[1.0, -2.0, 0.0]]), [[2.5, -5.0, 6.0]]),
    ],
    ids=LAYERS,
)
def test_a_noise_layer_equals_a_hand_computation(layer, numbers, expected):
    with noise.supplied([numbers]):
        assert torch.allclose(through(layer, X), torch.tensor(expected))


@pytest.mark.parametrize("Layer", [Dropout, gaussian])
def test_noise_keeps_the_expectation(Layer):
    x = torch.tensor([1.0, -3.0], dtype=torch.float64).expand(20_000, 2)
    with noise.drawn(generator()):
        noisy = through(Layer(0.3), x)
    error = noisy.std(0) / len(x) ** 0.5
    assert ((noisy.mean(0) - x[0]).abs() < 4 * error).all()
    assert (noisy.std(0) > 0.2).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("Layer", [Dropout, Masking])
def test_a_share_of_the_cells_is_set_to_zero(Layer, share):
    with noise.drawn(generator()):
        noisy = through(Layer(share), torch.ones(20_000, 2))
    assert (noisy == 0).double().mean().item() == pytest.approx(share, abs=4 * 0.5 / 40_000**0.5)


@layers
def test_without_noise_the_rows_pass_unchanged(Layer):
    x = torch.randn(3, 2, generator=generator())
    with noise.drawn(generator()):
        assert torch.equal(through(Layer(0.0), x), x)


def test_the_kinds_of_corruption_have_names():
    assert {name: type(make(0.5, 2)) for name, make in CORRUPTIONS.items()} == {
        "mask": Masking,
        "gaussian": GaussianNoise,
        "gaps": CopiedGaps,
    }


@pytest.mark.parametrize("layer", [Masking(0.5), GaussianNoise(0.5, 2)], ids=["mask", "gaussian"])
def test_a_corruption_tells_which_cells_are_left(layer):
    observed = torch.tensor([[1.0, 0.0, 1.0]])
    with noise.supplied([torch.tensor([[0.1, 0.9, 0.9]])[:, : 2 if isinstance(layer, GaussianNoise) else 3]]):
        x, left = layer(X, observed)
    assert left.tolist() == ([[0.0, 0.0, 1.0]] if isinstance(layer, Masking) else [[1.0, 0.0, 1.0]])
    assert x[0, 2] == X[0, 2]  # the third column holds categories: no noise of a number's kind


GAPS = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]])


def test_gaps_are_copied_from_the_chosen_rows():
    uniform = torch.tensor([[0.9, 0.2, 0.9, 0.05], [0.9, 0.05, 0.9, 0.9], [0.9, 0.9, 0.9, 0.2]])
    choices = torch.tensor([[0.5 + 1.5 / 6], [0.5 + 2.5 / 6], [0.3]])  # rows 1 and 2, and no row
    x = torch.arange(1.0, 13).view(3, 4)
    with noise.supplied([uniform, choices]):
        corrupted, kept = CopiedGaps(0.25)(x * GAPS, GAPS)
    assert kept.tolist() == [
        [0.0, 1.0, 0.0, 0.0],  # the gaps of row 1, its own, and the last cell, whose number is below EXTRA
        [0.0, 0.0, 0.0, 1.0],  # the gaps of row 2, and its own
        [1.0, 0.0, 0.0, 0.0],  # the last cell is masked at random
    ]
    assert torch.equal(corrupted, x * kept)


def test_cells_that_are_missing_together_are_masked_together():
    observed = torch.ones(20_000, 3)
    observed[::2, :2] = 0
    with noise.drawn(generator()):
        _, kept = CopiedGaps(0.3)(torch.ones(20_000, 3), observed)
    complete = kept[1::2]
    first, second, third = (complete == 0).double().mean(0)
    both = (complete[:, :2] == 0).all(1).double().mean()
    copied = 0.5 + 0.5 * EXTRA  # of the rows that copy gaps, one half copies those of complete rows
    assert first.item() == pytest.approx(0.5 * 0.3 + 0.5 * copied, abs=0.02)
    assert second.item() == pytest.approx(first.item(), abs=0.02)
    assert both.item() == pytest.approx(0.5 * 0.3**2 + 0.5 * (0.5 + 0.5 * EXTRA**2), abs=0.02)
    assert third.item() == pytest.approx(0.5 * 0.3 + 0.5 * EXTRA, abs=0.02)


def test_without_gaps_all_rows_are_masked_at_random():
    with noise.drawn(generator()):
        _, kept = CopiedGaps(0.3)(torch.ones(20_000, 2))
    assert (kept == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
