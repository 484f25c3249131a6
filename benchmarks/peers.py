"""The peers of a comparison: each trains the same network on the same rows, as its own users would.

A peer gets rows that are standardised already and gives back how it reconstructs rows. All train on the CPU, with
the case's batch size and epochs, and with Adam at the case's rate; a comment says where a peer can't do that. Of a
game, both rates are the package's defaults. A peer is imported by its first fit, so let one go before any is timed.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import StringIO
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder


@dataclass(frozen=True)
class Case:
    """A network on a table: what every peer trains alike."""

    name: str
    family: str  # "regularized", "variational" or "adversarial"
    columns: int
    hidden: tuple[int, ...]  # widths of the encoder; the decoder mirrors them
    code: int
    batch: int
    rows: int
    epochs: int
    rate: float = 1e-3


Reconstruct = Callable[[NDArray], NDArray]  # rows (n, d) float32 -> reconstructed rows (n, d)
Fit = Callable[[Case, NDArray], Reconstruct]
OptimizerOf = Callable[..., torch.optim.Optimizer]  # Adam, plain or fused
Step = Callable[[Tensor], Tensor]  # trains on a batch, returns its loss without a graph


@dataclass(frozen=True)
class Peer:
    """Who trains, in each family that it does."""

    package: str  # as installed; its version is reported
    fits: Mapping[str, Fit]

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(self.fits)

    @property
    def version(self) -> str:
        return version(self.package)

    def fit(self, case: Case, X: NDArray) -> Reconstruct:
        return self.fits[case.family](case, X)


def rows_of(case: Case) -> NDArray:
    """Rows near a curved surface of a few dimensions, standardised."""
    random = np.random.default_rng(0)
    surface = np.tanh(random.normal(size=(case.rows, 5)) @ random.normal(size=(5, case.columns)))
    X = surface + 0.1 * random.normal(size=surface.shape)
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32)


# The network


def layers(*sizes: int) -> nn.Sequential:
    """Return linear layers with relu between them."""
    hidden = [[nn.Linear(a, b), nn.ReLU()] for a, b in zip(sizes[:-2], sizes[1:-1], strict=True)]
    return nn.Sequential(*[layer for pair in hidden for layer in pair], nn.Linear(sizes[-2], sizes[-1]))


def encoder_of(case: Case) -> nn.Sequential:
    return layers(case.columns, *case.hidden, case.code)


def gaussian_encoder_of(case: Case) -> nn.Sequential:
    """Return an encoder to means and log-variances, side by side: one layer is faster than two heads."""
    return layers(case.columns, *case.hidden, 2 * case.code)


def decoder_of(case: Case) -> nn.Sequential:
    return layers(case.code, *reversed(case.hidden), case.columns)


def reconstructing(forward: Callable[[Tensor], Tensor]) -> Reconstruct:
    """Turn a function of tensors into one of arrays."""

    @torch.no_grad()
    def reconstruct(rows: NDArray) -> NDArray:
        return forward(torch.from_numpy(rows)).numpy()

    return reconstruct


# By hand


def train(case: Case, X: NDArray, step: Step) -> list[float]:
    """Return the mean loss of each epoch; numbers are read once an epoch."""
    x = torch.from_numpy(X)
    history = []
    for _ in range(case.epochs):
        total = torch.zeros(())
        batches = torch.randperm(len(x)).split(case.batch)
        for index in batches:
            total += step(x[index])
        history.append(total.item() / len(batches))
    return history


def regularized_loop(case: Case, X: NDArray, Adam: OptimizerOf) -> Reconstruct:
    torch.manual_seed(0)
    module = nn.Sequential(encoder_of(case), decoder_of(case))
    optimizer = Adam(module.parameters(), lr=case.rate)

    def step(rows: Tensor) -> Tensor:
        loss = 0.5 * (module(rows) - rows).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    train(case, X, step)
    return reconstructing(module)


def variational_loop(case: Case, X: NDArray, Adam: OptimizerOf) -> Reconstruct:
    """Train on the evidence lower bound, with the package's rule for the noise of the columns."""
    torch.manual_seed(0)
    encoder, decoder = gaussian_encoder_of(case), decoder_of(case)
    optimizer = Adam([*encoder.parameters(), *decoder.parameters()], lr=case.rate)
    variance = torch.ones(())

    def step(rows: Tensor) -> Tensor:
        mean, log_variance = encoder(rows).chunk(2, 1)
        sigma = (0.5 * log_variance).exp()
        squared_error = (decoder(mean + sigma * torch.randn_like(mean)) - rows).square().mean()
        divergence = 0.5 * (mean.square() + sigma.square() - log_variance - 1).sum(1).mean()
        loss = 0.5 * case.columns * (squared_error / variance + variance.log()) + divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        variance.lerp_(squared_error.detach(), 0.05).clamp_(min=0.03**2)
        return loss.detach()

    train(case, X, step)
    return reconstructing(lambda rows: decoder(encoder(rows).chunk(2, 1)[0]))


def adversarial_loop(case: Case, X: NDArray, Adam: OptimizerOf) -> Reconstruct:
    """Play the package's game: decoded draws from the prior have to look like rows."""
    torch.manual_seed(0)
    encoder, decoder, critic = encoder_of(case), decoder_of(case), layers(case.columns, *case.hidden, 1)
    generator = Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3, betas=(0.5, 0.9))
    discriminator = Adam(critic.parameters(), lr=4e-3, betas=(0.5, 0.9))

    def generated() -> Tensor:
        return decoder(torch.randn(case.batch, case.code))

    def move_autoencoder(rows: Tensor) -> Tensor:
        critic.requires_grad_(False)  # its gradients would be thrown away
        reconstruction = 0.5 * (decoder(encoder(rows)) - rows).square().sum(1).mean()
        loss = reconstruction - logsigmoid(critic(generated())).mean()
        generator.zero_grad()
        loss.backward()
        generator.step()
        critic.requires_grad_(True)
        return loss.detach()

    def move_critic(rows: Tensor) -> None:
        with torch.no_grad():
            fake = generated()
        real = critic(rows.requires_grad_())
        (slope,) = torch.autograd.grad(real.sum(), rows, create_graph=True)
        value = logsigmoid(real).mean() + logsigmoid(-critic(fake)).mean()
        loss = 0.05 * 0.5 * slope.square().sum(1).mean() - value
        discriminator.zero_grad()
        loss.backward(inputs=list(critic.parameters()))
        discriminator.step()

    def step(rows: Tensor) -> Tensor:
        loss = move_autoencoder(rows)
        move_critic(rows)
        return loss

    train(case, X, step)
    return reconstructing(nn.Sequential(encoder, decoder))


def loops(Adam: OptimizerOf) -> dict[str, Fit]:
    return {
        "regularized": partial(regularized_loop, Adam=Adam),
        "variational": partial(variational_loop, Adam=Adam),
        "adversarial": partial(adversarial_loop, Adam=Adam),
    }


# Packages


def skorch_regressor(case: Case, X: NDArray) -> Reconstruct:
    """Train on skorch's default, the mean squared error: the loop's loss by a factor that Adam does not see."""
    from skorch import NeuralNetRegressor

    torch.manual_seed(0)
    net = NeuralNetRegressor(
        nn.Sequential(encoder_of(case), decoder_of(case)),
        optimizer=torch.optim.Adam,
        lr=case.rate,
        batch_size=case.batch,
        max_epochs=case.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        device="cpu",
    )
    return net.fit(X, X).predict


# Of both detectors of pyod: weights begin Kaiming-uniform, an incomplete last batch is dropped, and a fit ends with
# the outlier scores of its rows.


def pyod_settings(case: Case) -> dict:
    return {
        "preprocessing": False,
        "lr": case.rate,
        "epoch_num": case.epochs,
        "batch_size": case.batch,
        "optimizer_params": {},  # no weight decay
        "dropout_rate": 0,
        "batch_norm": False,
        "hidden_activation_name": "relu",
        "device": "cpu",
        "random_state": 0,
        "verbose": 0,
    }


def pyod_autoencoder(case: Case, X: NDArray) -> Reconstruct:
    """Train an outlier detector on the mean squared error; the code passes through a relu, which can't be chosen."""
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(hidden_neuron_list=[*case.hidden, case.code], **pyod_settings(case)).fit(X)
    return reconstructing(detector.model)


def pyod_variational(case: Case, X: NDArray) -> Reconstruct:
    """Train an outlier detector on the bound with unit noise (it learns none), times 2 / columns."""
    from pyod.models.vae import VAE

    detector = VAE(
        encoder_neuron_list=list(case.hidden),
        decoder_neuron_list=list(reversed(case.hidden)),
        latent_dim=case.code,
        beta=2 / case.columns,  # its squared error is a mean over the columns, without the half
        capacity=inf,  # at the default of 0 the divergence would not count
        **pyod_settings(case),
    ).fit(X)
    return reconstructing(lambda rows: detector.model.decode(detector.model.encode(rows)[0]))


@contextmanager
def silence() -> Iterator[None]:
    """Keep the log and the progress bars of pythae off the screen."""
    logging.disable(logging.INFO)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def pythae_autoencoder(case: Case, X: NDArray) -> Reconstruct:
    """Train on the summed squared error, twice the loop's loss, which Adam does not see."""
    from pythae.models import AE, AEConfig

    model = pythae_trained(case, X, AE, AEConfig, encoder_of(case))
    return reconstructing(lambda rows: model.decoder(model.encoder(rows).embedding).reconstruction)


def pythae_variational(case: Case, X: NDArray) -> Reconstruct:
    """Train on the bound with unit noise: it learns none."""
    from pythae.models import VAE, VAEConfig

    model = pythae_trained(case, X, VAE, VAEConfig, gaussian_encoder_of(case))
    return reconstructing(lambda rows: model.decoder(model.encoder(rows).embedding).reconstruction)


def pythae_trained(case: Case, X: NDArray, Model: type, Config: type, encoder: nn.Module) -> nn.Module:
    """Return the model after its last epoch; a copy of every epoch's best and one save at the end are pythae's way."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, rows):
            # A point is a part of its own, and "log_covariance" is then not read.
            parts = self.network(rows).split(case.code, 1)
            return ModelOutput(embedding=parts[0], log_covariance=parts[-1])

    class Decoder(BaseDecoder):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, codes):
            return ModelOutput(reconstruction=self.network(codes))

    torch.manual_seed(0)
    with silence(), tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=case.batch,
            num_epochs=case.epochs,
            learning_rate=case.rate,
            no_cuda=True,
        )
        model = Model(
            Config(input_dim=(case.columns,), latent_dim=case.code), Encoder(encoder), Decoder(decoder_of(case))
        )
        TrainingPipeline(model, config)(X)
    return model.eval()


def mlp_regressor(case: Case, X: NDArray) -> Reconstruct:
    """Train scikit-learn's regressor of X on X; its code passes through a relu like every hidden layer."""
    regressor = MLPRegressor(
        hidden_layer_sizes=(*case.hidden, case.code, *reversed(case.hidden)),
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=case.rate,
        max_iter=case.epochs,
        n_iter_no_change=case.epochs,
        tol=0.0,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return regressor.fit(X, X).predict


def own_settings(case: Case) -> dict:
    return {
        "n_components": case.code,
        "hidden_layer_sizes": case.hidden,
        "activation": "relu",
        "task": None,
        "scale": True,  # the work that users ask for, although these rows do not need it
        "batch_size": case.batch,
        "learning_rate_schedule": "constant",
        "max_iter": case.epochs,
        "device": "cpu",
        "random_state": 0,
        "linear_path": False,  # the network of the others
        "early_stopping": False,
    }


def own_fit(estimator, X: NDArray) -> Reconstruct:
    estimator.fit(X)
    return lambda rows: estimator.inverse_transform(estimator.transform(rows))


def own_regularized(case: Case, X: NDArray) -> Reconstruct:
    return own_fit(RegularizedAutoencoder(penalty=None, learning_rate=case.rate, **own_settings(case)), X)


def own_variational(case: Case, X: NDArray) -> Reconstruct:
    return own_fit(VariationalAutoencoder(learning_rate=case.rate, **own_settings(case)), X)


def own_adversarial(case: Case, X: NDArray) -> Reconstruct:
    return own_fit(AdversarialAutoencoder(**own_settings(case)), X)


PEERS = {
    "bare loop": Peer("torch", loops(torch.optim.Adam)),
    "bare loop, fused Adam": Peer("torch", loops(partial(torch.optim.Adam, fused=True))),
    "skorch": Peer("skorch", {"regularized": skorch_regressor}),
    "pyod": Peer("pyod", {"regularized": pyod_autoencoder, "variational": pyod_variational}),
    "pythae": Peer("pythae", {"regularized": pythae_autoencoder, "variational": pythae_variational}),
    "MLPRegressor": Peer("scikit-learn", {"regularized": mlp_regressor}),
    "sklearn_ae": Peer(
        "sklearn_ae",
        {"regularized": own_regularized, "variational": own_variational, "adversarial": own_adversarial},
    ),
}
