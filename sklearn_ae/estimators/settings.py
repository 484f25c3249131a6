"""The parameters that all families share."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch

from sklearn_ae.estimators.parameters import (
    FIXED,
    VARIES_IN_STACK,
    Bool,
    Float,
    Instance,
    Int,
    LayerSizes,
    OneOf,
    Scalar,
    Subclass,
)
from sklearn_ae.likelihoods.mixed import NUMERIC
from sklearn_ae.likelihoods.numeric import Numeric
from sklearn_ae.modules.mlp import ACTIVATIONS
from sklearn_ae.tables.columns import Grouping
from sklearn_ae.tables.schema import Options
from sklearn_ae.training.net import SCHEDULES

LIKELIHOODS = (OneOf("auto", *NUMERIC), Instance(dict), Subclass(Numeric))
SHARE = Float(0, 1, closed_low=False)
COLUMN_VALUES = (OneOf(None), Instance(dict, list, tuple, np.ndarray))


@dataclass(kw_only=True, eq=False, repr=False)
class Settings:
    """The parameters that all families share, with their valid values.

    ``FIXED`` marks a parameter that a fit can't change when it continues another one, because columns, target or
    weights depend on it. ``VARIES_IN_STACK`` marks one in which models of a stack may differ.
    """

    n_components: Annotated[int | float | str, Int(1), SHARE, OneOf("auto"), FIXED] = field(default=8, kw_only=False)
    hidden_layer_sizes: Annotated[tuple[int, ...], LayerSizes(), FIXED] = (128, 64)
    n_members: Annotated[int, Int(1), FIXED, VARIES_IN_STACK] = 1
    n_bins: Annotated[str | int, OneOf("auto"), Int(1), FIXED] = "auto"
    linear_path: Annotated[bool | str, Bool(), OneOf("auto"), FIXED] = "auto"
    activation: Annotated[str, OneOf(*ACTIVATIONS), FIXED] = "silu"
    dropout: Annotated[float, Float(0, 1)] = 0.0
    categorical_features: Annotated[Any, OneOf("from_dtype"), *COLUMN_VALUES, FIXED] = "from_dtype"
    min_frequency: Annotated[int | float, Int(1), Float(0, 1, closed_low=False), FIXED] = 2
    max_categories: Annotated[int | None, OneOf(None), Int(2), FIXED] = None
    handle_unknown: Annotated[str, OneOf("ignore", "error")] = "ignore"
    likelihood: Annotated[Any, *LIKELIHOODS, FIXED] = "auto"
    column_weight: Annotated[Any, *COLUMN_VALUES] = None
    constraints: Annotated[Any, OneOf(None), Instance(list, tuple), FIXED, VARIES_IN_STACK] = None
    scale: Annotated[bool | str, Bool(), OneOf("common", "quantile"), FIXED, VARIES_IN_STACK] = True
    task: Annotated[str | None, OneOf("classification", "regression", None), FIXED] = "classification"
    target_weight: Annotated[str | float, OneOf("auto"), Float(0), VARIES_IN_STACK] = "auto"
    unlabeled: Annotated[Any, Scalar(), FIXED, VARIES_IN_STACK] = None
    class_weight: Annotated[Any, OneOf("balanced", None), Instance(dict), FIXED, VARIES_IN_STACK] = None
    batch_size: Annotated[str | int, OneOf("auto"), Int(1)] = "auto"
    learning_rate: Annotated[float, Float(0, closed_low=False), VARIES_IN_STACK] = 3e-3
    learning_rate_schedule: Annotated[str, OneOf(*SCHEDULES), VARIES_IN_STACK] = "cosine"
    weight_decay: Annotated[float, Float(0), VARIES_IN_STACK] = 0.0
    max_iter: Annotated[int, Int(1), VARIES_IN_STACK] = 100
    tol: Annotated[float, Float(0), VARIES_IN_STACK] = 1e-4
    early_stopping: Annotated[bool | str, OneOf("auto"), Bool(), VARIES_IN_STACK] = "auto"
    validation_fraction: Annotated[float, Float(0, 1, closed_low=False), VARIES_IN_STACK] = 0.1
    n_iter_no_change: Annotated[int, Int(1), VARIES_IN_STACK] = 10
    warm_start: Annotated[bool, Bool(), VARIES_IN_STACK] = False
    device: Annotated[str | torch.device, Instance(str, torch.device)] = "auto"
    precision: Annotated[str, OneOf("auto", "float32", "float64", "bfloat16")] = "auto"
    callbacks: Annotated[Any, OneOf(None), Instance(list, tuple), VARIES_IN_STACK] = None
    verbose: Annotated[int, Int(0), Bool(), VARIES_IN_STACK] = 0
    random_state: Annotated[Any, OneOf(None), Int(0, 2**32 - 1), Instance(np.random.RandomState), VARIES_IN_STACK] = (
        None
    )

    def column_options(self) -> Options:
        """Return what the parameters say about the columns of a table."""
        grouping = Grouping(self.min_frequency, self.max_categories)
        return Options(self.categorical_features, self.likelihood, grouping, NUMERIC, self.constraints or ())
