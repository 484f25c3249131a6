"""What a method of an estimator computes, as one module from a table to the results."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_ae.model.ensemble import Ensemble, Model
from sklearn_ae.model.readouts import Batch
from sklearn_ae.model.targets import ClassTarget, Target, ValueTarget
from sklearn_ae.shipping.ports import Port, StringPort, ports_of
from sklearn_ae.shipping.scaling import TensorScaler


class Output(NamedTuple):
    """A result of a graph: its name, and the strings that its numbers from ``first`` on stand for, if it is strings."""

    name: str
    strings: list[str] | None = None
    first: int = 0


class Rows(nn.Module):
    """The inputs of a graph as rows of cells: one tensor, or one for each column of a table with categories.

    Parameters
    ----------
    ports : list of Port
        The columns.
    order : ndarray of int
        Positions of the columns in the order of the cells.
    by_column : bool
        Whether each column is an input.
    """

    index: Tensor

    def __init__(self, ports: list[Port], order: NDArray[np.int64], *, by_column: bool) -> None:
        super().__init__()
        self.ports = nn.ModuleList(ports)
        self.by_column = by_column
        self.order, self.place = order.tolist(), np.argsort(order).tolist()
        self.register_buffer("index", torch.from_numpy(order))

    def examples(self, n: int) -> list[Tensor]:
        """Return inputs of n rows."""
        if not self.by_column:
            return [torch.zeros(n, len(self.ports), device="cpu")]
        return [torch.zeros(n, 1, dtype=port.dtype, device="cpu") for port in self.all_ports]

    @property
    def all_ports(self) -> list[Port]:
        """The columns in their order."""
        return list(self.ports)  # type: ignore[arg-type]

    def cells(self, inputs: list[Tensor]) -> Tensor:
        """Return the cells of rows, (n, n_cells), NaN where they are missing."""
        if not self.by_column:
            return inputs[0].index_select(1, self.index)
        cells = [self.all_ports[position].cells(inputs[position]) for position in self.order]
        return torch.cat(cells, 1)

    def restored(self, cells: Tensor) -> list[Tensor]:
        """(n, n_cells) -> one tensor (n, d), or one (n, 1) for each column: values that the columns can hold."""
        places = zip(self.all_ports, self.place, strict=True)
        columns = [port.values(cells[:, place]).unsqueeze(1) for port, place in places]
        return columns if self.by_column else [torch.cat([column.float() for column in columns], 1)]


class Program(nn.Module):
    """One method of a fitted model: tables in, results out, without NumPy.

    Parameters
    ----------
    model : Model
        The model. Its modules are copied.
    method : str
        A key of ``METHODS``.

    Attributes
    ----------
    outputs : list of Output
        The results, in their order.
    """

    def __init__(self, model: Model, method: str) -> None:
        super().__init__()
        encoding = model.encoding
        self.rows = Rows(ports_of(encoding), encoding.schema.order, by_column=bool(encoding.layout.frequencies))
        self.scaler = TensorScaler(encoding.scaler, next(model.net.module_.parameters()).dtype)
        self.model = _traceable(model, self.scaler)
        self.modules_used = nn.ModuleList(member.net.module_ for member in self.model.members)
        self.ranges = encoding.ranges
        self.compute, outputs = METHODS[method]
        self.outputs = outputs(self)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the results for the inputs of n rows."""
        x, observed = self.scaler.encode(self.rows.cells(inputs))
        return self.compute(self, Batch(x, observed=observed))

    @property
    def module(self) -> Any:
        """The module of the best member."""
        return self.model.net.module_


def _traceable(model: Model, scaler: TensorScaler) -> Model:
    """Return a model with copies of its modules, whose readouts use nothing but torch."""
    encoding = replace(model.encoding, scaler=scaler)  # type: ignore[arg-type]

    def copied(member: Model) -> Model:
        net: Any = SimpleNamespace(module_=deepcopy(member.net.module_).cpu().eval().requires_grad_(False))
        own = {field.name: getattr(member, field.name) for field in fields(Model)}
        return Model(**own | {"net": net, "encoding": encoding})

    members = [copied(member) for member in model.members]
    best = next(i for i, member in enumerate(model.members) if member.net is model.net)
    return Ensemble.of(members, best) if len(members) > 1 else members[0]


def _codes(program: Program, batch: Batch) -> list[Tensor]:
    return [program.module.encode(batch.x, batch.observed).float()]


def _predictions(program: Program, batch: Batch) -> list[Tensor]:
    outputs = program.model.outputs(program.module, batch)
    target = program.model.target
    if isinstance(target, ValueTarget):
        return [(outputs[:, 0] * target.spread + target.location).float()]
    index = outputs.argmax(1)
    classes = _classes(target)
    return [index if classes.dtype.kind == "U" else torch.from_numpy(classes)[index]]


def _probabilities(program: Program, batch: Batch) -> list[Tensor]:
    return [program.model.outputs(program.module, batch).log_softmax(1).exp().float()]


def _log_likelihoods(program: Program, batch: Batch) -> list[Tensor]:
    return [program.model.scores(program.module, batch, None)[:, 0].float()]


def _reconstructed(program: Program, batch: Batch) -> list[Tensor]:
    cells = program.scaler.decode(program.module.decode(program.module.encode(batch.x, batch.observed)))
    low, high = (torch.from_numpy(bound) for bound in program.ranges.signs)
    numbers = torch.minimum(torch.maximum(cells[:, : len(low)], low), high)
    return program.rows.restored(torch.cat([numbers, cells[:, len(low) :]], 1))


def _classes(target: Target) -> NDArray:
    """Return the labels as strings, integers, floats or truth values."""
    assert isinstance(target, ClassTarget)  # whoever asks has a head
    classes = np.array(target.classes.tolist())
    if classes.dtype.kind not in "Uifb":
        raise ValueError(
            f"y must hold strings, numbers or truth values to be the output of a graph, got {target.classes.tolist()}: "
            "convert the labels before the fit"
        )
    return classes


def _label_output(program: Program) -> list[Output]:
    if isinstance(program.model.target, ValueTarget):
        return [Output("value")]
    classes = _classes(program.model.target)
    return [Output("label", classes.tolist() if classes.dtype.kind == "U" else None)]


def _column_outputs(program: Program) -> list[Output]:
    schema = program.model.encoding.schema
    if schema.constraints:
        raise ValueError(
            "method must be another one than 'reconstruct' where the fit has constraints, which are functions of "
            "Python: fit without constraints, or apply them to the output of your own graph"
        )
    if not program.rows.by_column:
        return [Output("reconstructed")]
    return [
        Output(f"reconstructed_{port.name}", list(port.strings) if isinstance(port, StringPort) else None, 1)
        for port in program.rows.all_ports
    ]


def _named(name: str) -> Callable[[Program], list[Output]]:
    return lambda program: [Output(name)]


Compute = Callable[[Program, Batch], list[Tensor]]
METHODS: dict[str, tuple[Compute, Callable[[Program], list[Output]]]] = {
    "transform": (_codes, _named("codes")),
    "predict": (_predictions, _label_output),
    "predict_proba": (_probabilities, _named("probabilities")),
    "reconstruct": (_reconstructed, _column_outputs),
    "score_samples": (_log_likelihoods, _named("log_likelihood")),
}
