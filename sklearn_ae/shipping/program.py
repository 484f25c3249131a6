"""What a method of an estimator computes, as one module from a table to the results."""

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_ae.model.ensemble import Ensemble, Model
from sklearn_ae.model.multi_output import MultiOutputTarget
from sklearn_ae.model.readouts import Batch
from sklearn_ae.model.targets import Target, ValueTarget
from sklearn_ae.shipping.ports import ports_of
from sklearn_ae.shipping.rows import Rows
from sklearn_ae.tables.interpolation import TensorCurve
from sklearn_ae.tables.scaler import Curve, Scaler

Results: TypeAlias = Tensor | tuple[Tensor, ...]


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
    ports : list of Port
        The columns of the table.
    by_column : bool
        Whether each column is an input of its own: there are categories.
    """

    def __init__(self, model: Model, method: str) -> None:
        super().__init__()
        encoding = model.encoding
        self.ports = ports_of(encoding.schema, encoding.schema.by_column(encoding.scaler.gaps).tolist())
        self.by_column = bool(encoding.layout.frequencies)
        self.rows = Rows(encoding, self.ports)
        self.scaler = _traceable_scaler(encoding.scaler)
        self.model = _traceable(model, self.scaler)
        self.modules_used = nn.ModuleList(member.net.module_ for member in self.model.members)
        self.compute = METHODS[method]

    def forward(self, X: Tensor) -> Results:
        """(n, d) -> (n, ...): the results for rows, in which strings are ids; a tuple of those of several outputs."""
        cells, dtype = self.rows.cells(X), next(self.module.parameters()).dtype
        missing = cells.isnan()
        x = self.scaler.standardised(cells, dtype).masked_fill(missing, 0)
        return self.compute(self, Batch(x, observed=(~missing).to(dtype)))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the table: single precision where it is enough, in a table without categories."""
        if not self.by_column:
            return torch.float32 if self.scaler.takes_single else torch.float64
        numbers = {port.type for port in self.ports if port.type != "string"}
        return torch.float32 if numbers == {"float"} else torch.float64

    @property
    def module(self) -> Any:
        """The module of the best member."""
        return self.model.net.module_


def _traceable_scaler(scaler: Scaler) -> Scaler:
    """Return a scaler that uses nothing but torch."""
    copied = copy(scaler)
    if isinstance(scaler.curve, Curve):
        copied.curve = TensorCurve(scaler.curve.knots)
    return copied


def _traceable(model: Model, scaler: Scaler) -> Model:
    """Return a model with copies of its modules, whose readouts use nothing but torch."""
    encoding = replace(model.encoding, scaler=scaler)

    def copied(member: Model) -> Model:
        net: Any = SimpleNamespace(module_=deepcopy(member.net.module_).cpu().eval().requires_grad_(False))
        own = {field.name: getattr(member, field.name) for field in fields(Model)}
        return Model(**own | {"net": net, "encoding": encoding})

    members = [copied(member) for member in model.members]
    best = next(i for i, member in enumerate(model.members) if member.net is model.net)
    return Ensemble.of(members, best) if len(members) > 1 else members[0]


def _codes(program: Program, batch: Batch) -> Tensor:
    return program.module.encode(batch.x, batch.observed).float()


def parts_of(target: Target) -> tuple[Target, ...]:
    """Return the target of each column of y."""
    return target.parts if isinstance(target, MultiOutputTarget) else (target,)


def _predictions(program: Program, batch: Batch) -> Results:
    parts, outputs = parts_of(program.model.target), _outputs(program, batch)
    values = [part for part in parts if isinstance(part, ValueTarget)]
    if values:
        predicted = _values(values, outputs)
        return predicted if len(values) > 1 else predicted[:, 0]
    return _one_or_all([_labels(part, logits) for part, logits in zip(parts, outputs, strict=True)])


def _values(parts: list[ValueTarget], outputs: Sequence[Tensor]) -> Tensor:
    """Return the values of columns of y, (n, n_columns), in single precision if all of them are near 0."""
    scaled = [output.double() * part.spread + part.location for part, output in zip(parts, outputs, strict=True)]
    values = torch.cat(scaled, 1)
    return values if any(part.needs_double for part in parts) else values.float()


def _labels(part: Target, logits: Tensor) -> Tensor:
    """(n, n_classes) -> (n,): labels, or the indices of strings."""
    index, labels = logits.argmax(1), labels_of(part)
    return index if labels.dtype.kind == "U" else torch.from_numpy(labels)[index]


def _probabilities(program: Program, batch: Batch) -> Results:
    return _one_or_all([logits.log_softmax(1).exp().float() for logits in _outputs(program, batch)])


def _outputs(program: Program, batch: Batch) -> Sequence[Tensor]:
    """Return the outputs of the head for each column of y, each (n, n_outputs)."""
    outputs = program.model.outputs(program.module, batch)
    return outputs.split([part.n_outputs for part in parts_of(program.model.target)], 1)


def _one_or_all(results: list[Tensor]) -> Results:
    return tuple(results) if len(results) > 1 else results[0]


def _reconstruction(program: Program, batch: Batch) -> Tensor:
    if program.model.encoding.schema.constraints:
        raise ValueError(
            "method must be another one than 'reconstruct' after a fit with constraints, whose functions can't be in a "
            "graph: fit without constraints"
        )
    cells = program.scaler.decode(program.module.decode(program.module.encode(batch.x, batch.observed)))
    low, high = (torch.from_numpy(bound) for bound in program.model.encoding.ranges.signs)
    numbers = torch.minimum(torch.maximum(cells[:, : len(low)], low), high)
    rows = program.rows.restored(torch.cat([numbers, cells[:, len(low) :]], 1))
    return rows if program.by_column else rows.to(program.dtype)


def _log_likelihood(program: Program, batch: Batch) -> Tensor:
    return program.model.scores(program.module, batch, None)[:, 0].float()


METHODS: dict[str, Callable[[Program, Batch], Results]] = {
    "transform": _codes,
    "predict": _predictions,
    "predict_proba": _probabilities,
    "reconstruct": _reconstruction,
    "score_samples": _log_likelihood,
}


def labels_of(target: Target) -> NDArray:
    """Return the labels of the classes of one column of y as strings, integers, floats or truth values."""
    labels = np.array([] if target.classes is None else target.classes.tolist())
    if labels.dtype.kind not in "Uifb":
        raise ValueError(
            f"labels must be strings, numbers or truth values to be outputs of a graph, got {labels.tolist()}: convert "
            "them before the fit"
        )
    return labels
