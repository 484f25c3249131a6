"""Valid values of parameters, declared in their annotations, and the check before a fit."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from inspect import isabstract
from math import inf
from numbers import Integral, Real
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

import numpy as np


class InvalidParameterError(ValueError, TypeError):
    """The value of a parameter is of the wrong type or out of its range."""


class Rule(Protocol):
    """A set of valid values."""

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        ...

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Int:
    """An integer in a closed interval."""

    low: int
    high: float = inf

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        whole = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
        return whole and self.low <= int(value) <= self.high

    def __str__(self) -> str:
        return f"an int in the range [{self.low}, {'inf)' if self.high == inf else f'{self.high}]'}"


@dataclass(frozen=True)
class Float:
    """A real number in an interval."""

    low: float
    high: float = inf
    closed_low: bool = True
    closed_high: bool = False

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
            return False
        number = float(value)
        above = number >= self.low if self.closed_low else number > self.low
        return above and (number <= self.high if self.closed_high else number < self.high)

    def __str__(self) -> str:
        left, right = "[" if self.closed_low else "(", "]" if self.closed_high else ")"
        return f"a float in the range {left}{self.low:g}, {self.high:g}{right}"


class OneOf:
    """One of several strings, or None."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        return any(isinstance(value, type(option)) and value == option for option in self.values)

    def __str__(self) -> str:
        return " or ".join(map(repr, self.values)) if len(self.values) < 3 else f"one of {list(self.values)}"


class Bool:
    """True or False."""

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        return isinstance(value, bool | np.bool_)

    def __str__(self) -> str:
        return "a bool"


class Function:
    """A callable."""

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        return callable(value)

    def __str__(self) -> str:
        return "a callable"


class LayerSizes:
    """A sequence of layer widths, possibly empty."""

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):  # a set has no order
            return False
        return all(map(Int(1).admits, value))

    def __str__(self) -> str:
        return "a tuple of ints in the range [1, inf)"


class Scalar:
    """A single value."""

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        return isinstance(value, str | bytes) or not isinstance(value, Collection)

    def __str__(self) -> str:
        return "a single value"


class Instance:
    """An instance of some classes."""

    def __init__(self, *classes: type) -> None:
        self.classes = classes

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        return isinstance(value, self.classes)

    def __str__(self) -> str:
        return "an instance of " + " or ".join(c.__name__ for c in self.classes)


class Subclass:
    """A subclass of an abstract class that can be instantiated."""

    def __init__(self, base: type) -> None:
        self.base = base

    def admits(self, value: Any) -> bool:
        """Whether the value is valid."""
        return isinstance(value, type) and issubclass(value, self.base) and not isabstract(value)

    def __str__(self) -> str:
        return f"a subclass of {self.base.__name__}"


class Marker:
    """A property of a parameter, declared in its annotation."""


VARIES_IN_STACK = Marker()  # models that are trained as one stack may differ in this parameter
FIXED = Marker()  # a fit that continues another one (warm_start, partial_fit) can't change this parameter


def marked(cls: type, marker: Marker) -> frozenset[str]:
    """Return the names of the parameters of a class that have a marker."""
    return frozenset(name for name, annotations in _annotated(cls).items() if marker in annotations)


def check_parameters(estimator: Any) -> None:
    """Raise unless every annotated parameter of an estimator has a valid value."""
    for name, rules in _rules(estimator.__class__).items():
        value = getattr(estimator, name)
        if not any(rule.admits(value) for rule in rules):
            raise InvalidParameterError(
                f"The {name!r} parameter of {type(estimator).__name__} must be {' or '.join(map(str, rules))}. "
                f"Got {value!r} instead."
            )


def meaning(value: Any) -> Hashable:
    """Return a key that is equal for equivalent values of a parameter."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return frozenset((name, meaning(entry)) for name, entry in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(meaning, value))
    if isinstance(value, partial):  # clone makes another one of it
        return value.func, meaning(value.args), meaning(value.keywords)
    if isinstance(value, Real) and not isinstance(value, bool):
        return "nan" if value != value else ("number", value)  # noqa: PLR0124 - holds for NaN only
    return (type(value).__name__, value) if isinstance(value, Hashable) else id(value)


def _rules(cls: type) -> dict[str, list[Rule]]:
    return {
        name: [annotation for annotation in annotations if not isinstance(annotation, Marker)]
        for name, annotations in _annotated(cls).items()
    }


@lru_cache
def _annotated(cls: Hashable) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(cls, include_extras=True)
    return {name: get_args(hint)[1:] for name, hint in hints.items() if get_origin(hint) is Annotated}
