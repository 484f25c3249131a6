"""The skorch net that trains the phases of a family."""

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import cos, pi
from typing import Any, cast

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from skorch.exceptions import DeviceWarning
from skorch.history import History
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.training.adam import Adam
from sklearn_ae.training.batches import Chunks, EqualBatches, Minibatch, Rows, chunk_size
from sklearn_ae.training.callbacks import listeners
from sklearn_ae.training.loop import DRIVER, Split, StopTraining, train_lone
from sklearn_ae.training.phases import Phase, requests
from sklearn_ae.training.ranks import RANKS, Gradients

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + cos(pi * progress)),  # Loshchilov & Hutter (2017), eq. 5
    "constant": lambda progress: 1.0,
}
# Settings that are saved with a net. Others of skorch could run code when a net is loaded.
SAVED = (
    *("phases", "validation_phase", "optimizers", "schedule", "seed", "autocast"),
    *("batch_size", "max_epochs", "verbose"),
)


class AutoencoderNet(NeuralNet):
    """A skorch net whose training step is a sequence of phases.

    Parameters
    ----------
    module : Module
        An autoencoder with initial weights.
    phases : sequence of Phase
        The phases of a training step. The optimizer of the first phase is ``optimizer_``, the others are
        ``<phase>_optimizer_``.
    validation_phase : Phase
        Its loss on the validation rows is ``valid_loss``.
    optimizers : mapping of str to dict
        Arguments of :class:`torch.optim.Adam` for each phase.
    schedule : {"cosine", "constant"}, default="constant"
        The schedule of the learning rates.
    seed : int, default=0
        Seed of the generator of permutations and noise.
    autocast : bool, default=False
        Whether to compute in bfloat16 where torch's autocast allows it.
    signature : hashable, optional
        Nets with equal signatures differ in weights, learning rates and rows only, and may be trained as one stack.
    **kwargs
        Arguments of :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: Autoencoder,
        phases: Sequence[Phase],
        validation_phase: Phase,
        optimizers: Mapping[str, dict[str, Any]],
        *,
        schedule: str = "constant",
        seed: int = 0,
        autocast: bool = False,
        signature: Hashable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion=None, train_split=None, **kwargs)
        self.phases = phases
        self.validation_phase = validation_phase
        self.optimizers = optimizers
        self.schedule = schedule
        self.seed = seed
        self.autocast = autocast
        self.signature = signature

    def __repr__(self) -> str:
        return f"{type(self).__name__}(phases={[phase.name for phase in self.phases]}, device={str(self.device)!r})"

    # Pickling and copying

    # These may hold tensors, which go to the CPU if a pickle is read without a GPU; skorch adds the optimizers.
    cuda_dependent_attributes_ = ["module", "phases", "validation_phase", "optimizer", "callbacks", "signature"]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the step: its recording refers to memory of this process."""
        state = super().__getstate__()
        state.pop("step_", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the net, on the CPU if torch can't reach its device."""
        super().__setstate__({**state, "device": at_hand(state["device"])})
        if self.initialized_:
            self.renew_step()

    def saved_state(self) -> dict[str, Any]:
        """Return what :meth:`from_saved_state` makes the net from. Callbacks belong to the training."""
        return {
            **{name: getattr(self, name) for name in ("module_", *SAVED)},
            "device": str(self.device),
            "history": [dict(epoch) for epoch in self.history],
            "first_epoch_": self.first_epoch_,
            "optimizer_states": [getattr(self, name).state_dict() for name in self._optimizer_names()],
        }

    @classmethod
    def from_saved_state(cls, state: dict[str, Any]) -> "AutoencoderNet":
        """Return a net of a saved state, on the CPU if torch can't reach its device."""
        settings = {name: state[name] for name in SAVED}
        net = cls(state["module_"], **settings, device=at_hand(state["device"])).initialize()
        net._check_shapes()
        net.history_, net.first_epoch_ = History(state["history"]), state["first_epoch_"]
        for name, of_optimizer in zip(net._optimizer_names(), state["optimizer_states"], strict=True):
            getattr(net, name).load_state_dict(of_optimizer)
        return net

    @torch.no_grad()
    def _check_shapes(self) -> None:
        """Raise unless a row can be encoded and decoded."""
        module = self.module_.eval()
        row = next(module.parameters()).new_zeros(1, module.likelihood.n_cells)
        module.likelihood.estimate(module.decoder(module.encode(row)))

    def __deepcopy__(self, memo: dict[int, Any]) -> "AutoencoderNet":
        """Copy the net on its device, including what can't be pickled."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        kept = {name: value for name, value in vars(self).items() if name != "step_"}
        copied.__dict__.update(copy.deepcopy(kept, memo))
        if copied.initialized_:
            copied.renew_step()
        return copied

    def renew_step(self) -> None:
        """Set a training step with nothing recorded."""
        on_gradients = self._show_gradients if listeners(self.callbacks_, "on_grad_computed") else None
        bound = self.module_, self.phases, self.optimizers_by_phase(), self.precision, on_gradients
        self.step_ = RANKS.get().step(*bound)

    # Initialization, called by skorch

    def initialize_criterion(self) -> "AutoencoderNet":
        """Set an identity: the phases define the loss, but callbacks save and load a criterion."""
        self.criterion_ = nn.Identity()
        return self

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "AutoencoderNet":
        """Make the optimizer of each phase."""
        moved = [list(phase.parameters(self.module_).values()) for phase in self.phases]
        movers = Counter(parameter for parameters in moved for parameter in parameters)
        for phase, name, parameters in zip(self.phases, self._optimizer_names(), moved, strict=True):
            owns = all(movers[parameter] == 1 for parameter in parameters)
            setattr(self, name, Adam(parameters, owns_parameters=owns, **self.optimizers[phase.name]))
        self.renew_step()
        return self

    def get_default_callbacks(self) -> list[tuple[str, Callback]]:
        """Return callbacks that time the epochs and, if verbose is above 1, print them."""
        return [("epoch_timer", EpochTimer()), *([("print_log", PrintLog())] if self.verbose > 1 else [])]

    # Training, called by skorch and by the training loop

    def get_split_datasets(self, X: Split, y: None = None, **fit_params: Any) -> Split:
        """Return the split as it is: the estimator has made it."""
        return X

    def get_iterator(self, dataset: Rows, training: bool = False) -> Iterable[Minibatch]:
        """Return batches of equal size for training and chunks for validation, with the noise of their phases."""
        phases = self.phases if training else [self.validation_phase]
        self._set_training(training)
        asked = {phase.name: requests(self.module_, phase, dataset.slice(0, 2)) for phase in phases}
        if training:
            return RANKS.get().batches(EqualBatches(dataset, self.batch_size, noise.generator(self.seed), asked))
        return Chunks(dataset, chunk_size(dataset), self.seed, asked)

    def partial_fit(self, X: Split, y: None = None, classes: None = None, **fit_params: Any) -> "AutoencoderNet":
        """Train on the rows. A callback may stop the training; other interrupts are passed on."""
        if not self.initialized_:
            self.initialize()
        if driver := DRIVER.get(None):
            driver([self], X)
        else:
            train_lone(self, X)
        return self

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Notify the callbacks; those of skorch stop the training with a KeyboardInterrupt at the end of an epoch."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:
            if method_name != "on_epoch_end":
                raise
            raise StopTraining from stop

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Set the initial learning rates."""
        super().on_train_begin(net, X, y, **kwargs)
        self.first_epoch_ = len(self.history)
        self._set_learning_rates(1.0)

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Set the learning rates of the epoch."""
        if self.schedule != "constant":  # with "constant", a scheduler among the callbacks may set them
            progress = (len(self.history) - self.first_epoch_) / self.max_epochs
            self._set_learning_rates(SCHEDULES[self.schedule](progress))
        super().on_epoch_begin(net, **kwargs)

    def train_step(self, batch: Minibatch, **fit_params: Any) -> dict[str, Tensor]:
        """Run the phases on a batch; return all terms before the step."""
        return self.step_(batch)

    @torch.no_grad()
    def validation_step(self, batch: Minibatch, **fit_params: Any) -> dict[str, Tensor]:
        """Return the terms of the validation phase on a chunk of validation rows."""
        with self.precision(), noise.supplied(batch.draws[self.validation_phase.name]):
            return self.validation_phase.evaluate(self.module_, batch.rows).terms

    # Continuing, precision and optimizers

    def go_on_from(self, other: "AutoencoderNet") -> "AutoencoderNet":
        """Copy the weights, the state of the optimizers and the history of another net."""
        state, asked = other.module_.state_dict(), self.module_.state_dict()
        shapes, asked_shapes = ({name: (*t.shape,) for name, t in tensors.items()} for tensors in (state, asked))
        if shapes != asked_shapes:
            differing = dict(shapes.items() ^ asked_shapes.items())
            raise ValueError(f"a net that goes on must keep the shapes of its tensors, got others: {sorted(differing)}")
        self.module_.load_state_dict(state)
        for name in self._optimizer_names():
            getattr(self, name).load_state_dict(copy.deepcopy(getattr(other, name).state_dict()))
        self.history_ = copy.deepcopy(other.history)
        return self

    def precision(self) -> AbstractContextManager[Any]:
        """Return a context in which the module computes in the precision of the net."""
        device_type = torch.device(self.device).type
        return torch.autocast(device_type, torch.bfloat16) if self.autocast else nullcontext()

    def _optimizer_names(self) -> list[str]:
        return ["optimizer_", *(f"{phase.name}_optimizer_" for phase in self.phases[1:])]

    def optimizers_by_phase(self) -> dict[str, Adam]:
        """Return the optimizer of each phase."""
        names = self._optimizer_names()
        return {phase.name: getattr(self, name) for phase, name in zip(self.phases, names, strict=True)}

    def _set_learning_rates(self, factor: float) -> None:
        for name, optimizer in self.optimizers_by_phase().items():
            for group in optimizer.param_groups:
                group |= {**self.optimizers[name], "lr": factor * self.optimizers[name]["lr"]}

    def _show_gradients(self, phase: Phase, found: Gradients, batch: Minibatch) -> Gradients:
        """Pass the gradients to the callbacks, which may change them, as skorch documents."""
        moved = phase.parameters(self.module_)
        for parameter, gradient in zip(moved.values(), found, strict=True):
            parameter.grad = gradient
        self.notify("on_grad_computed", named_parameters=list(moved.items()), batch=batch, training=True)
        shown = [cast(Tensor, parameter.grad) for parameter in moved.values()]
        for parameter in moved.values():
            parameter.grad = None
        return shown


def at_hand(device: Any) -> Any:
    """Return the device if torch can reach it, the CPU otherwise."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # torch raises either, by kind of device
        warnings.warn(
            f"the fit was made on device {str(device)!r}, which torch can't reach here: it is loaded onto the CPU",
            DeviceWarning,
            stacklevel=4,
        )
        return "cpu"
    return device
