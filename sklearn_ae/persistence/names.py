"""The classes and functions that a file may name. Nothing else is looked up, so a file can't run code of its own."""

from collections.abc import Collection, Iterable
from importlib import import_module
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

CLASSES_IN = tuple(f"sklearn_ae.{part}." for part in ("estimators", "likelihoods", "model", "modules", "objectives"))
CLASSES_IN = (*CLASSES_IN, "sklearn_ae.tables.", "sklearn_ae.training.")
FUNCTIONS_IN = ("sklearn_ae.objectives.",)  # functions of tensors
OTHERS = {
    "sklearn.covariance._shrunk_covariance.LedoitWolf",
    "sklearn.mixture._gaussian_mixture.GaussianMixture",
    *(f"torch.nn.modules.activation.{name}" for name in ("ELU", "GELU", "ReLU", "SiLU", "Sigmoid", "Tanh")),
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.linear.Identity",
}


# What has a name: classes, and functions of Python, of extensions and of numpy.
NAMED = (type, FunctionType, BuiltinFunctionType, np.ufunc)


class Names:
    """Names of classes and functions, and what they stand for.

    Parameters
    ----------
    trusted : collection of class or function
        Additional ones of the user.
    """

    def __init__(self, trusted: Collection[Any] = ()) -> None:
        for thing in trusted:
            if not isinstance(thing, NAMED):
                raise TypeError(f"trusted must hold classes and functions, got {thing!r}")
        self._trusted = {name_of(thing): thing for thing in trusted}

    def __contains__(self, thing: Any) -> bool:
        name = name_of(thing)
        return self._trusted.get(name) is thing or _is_own(name, thing)

    def found(self, name: str) -> Any:
        """Return the class or function of a name.

        Raises
        ------
        ValueError
            If the name is not that of a class or function of the package, or of a trusted one.
        """
        if name in self._trusted:
            return self._trusted[name]
        if not (_starts(name, CLASSES_IN) or name in OTHERS):
            raise ValueError(
                f"the file must name classes and functions of sklearn_ae only, got {name!r}: if you know it and its "
                "author, pass trusted=[...] with it"
            )
        module, _, own = name.rpartition(".")
        thing = getattr(import_module(module), own, None)
        if not (isinstance(thing, NAMED) and name_of(thing) == name and _is_own(name, thing)):
            raise ValueError(f"the file must name classes and functions of sklearn_ae, got {name!r}, which is none")
        return thing


def name_of(thing: Any) -> str:
    """Return the qualified name of a class or function."""
    if isinstance(thing, np.ufunc):
        return f"numpy.{thing.__name__}"
    return f"{thing.__module__}.{thing.__qualname__}"


def _is_own(name: str, thing: Any) -> bool:
    return name in OTHERS or _starts(name, CLASSES_IN if isinstance(thing, type) else FUNCTIONS_IN)


def _starts(name: str, prefixes: Iterable[str]) -> bool:
    return name.startswith(tuple(prefixes))
