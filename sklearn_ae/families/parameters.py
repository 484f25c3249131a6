"""What values a parameter may take, declared in its annotation, and the check before a fit."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import inf
from numbers import Integral, Real
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

import numpy as np


class InvalidParameterError(ValueError, TypeError):
    """A parameter has a value of the wrong type or out of its range."""


class Rule(Protocol):
    """A set of admitted values."""

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        ...

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Whole:
    """A whole number in a range, both ends included."""

    low: int
    high: float = inf

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        whole = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
        return whole and self.low <= int(value) <= self.high

    def __str__(self) -> str:
        return f"an int in the range [{self.low}, {'inf)' if self.high == inf else f'{self.high}]'}"


@dataclass(frozen=True)
class Number:
    """A real number in an interval, written as in mathematics."""

    low: float
    high: float = inf
    closed_low: bool = True
    closed_high: bool = False

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
            return False
        number = float(value)
        above = number >= self.low if self.closed_low else number > self.low
        return above and (number <= self.high if self.closed_high else number < self.high)

    def __str__(self) -> str:
        left, right = "[" if self.closed_low else "(", "]" if self.closed_high else ")"
        return f"a float in the range {left}{self.low:g}, {self.high:g}{right}"


class OneOf:
    """One of some values, which are strings or None."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        return any(isinstance(value, type(option)) and value == option for option in self.values)

    def __str__(self) -> str:
        return " or ".join(map(repr, self.values)) if len(self.values) < 3 else f"one of {list(self.values)}"


class Flag:
    """True or False."""

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        return isinstance(value, bool | np.bool_)

    def __str__(self) -> str:
        return "a bool"


class Function:
    """Anything that can be called."""

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        return callable(value)

    def __str__(self) -> str:
        return "a callable"


class Sizes:
    """A tuple or list of layer widths; it may be empty."""

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):  # a set has no order
            return False
        return all(map(Whole(1).admits, value))

    def __str__(self) -> str:
        return "a tuple of ints in the range [1, inf)"


class Scalar:
    """A single value."""

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        return isinstance(value, str | bytes) or not isinstance(value, Collection)

    def __str__(self) -> str:
        return "a single value"


class Instance:
    """An instance of some classes."""

    def __init__(self, *classes: type) -> None:
        self.classes = classes

    def admits(self, value: Any) -> bool:
        """Whether the value is in the set."""
        return isinstance(value, self.classes)

    def __str__(self) -> str:
        return "an instance of " + " or ".join(c.__name__ for c in self.classes)


def check_parameters(estimator: Any) -> None:
    """Raise unless every annotated parameter of an estimator has a value that one of its rules admits."""
    for name, rules in _rules(estimator.__class__).items():
        value = getattr(estimator, name)
        if not any(rule.admits(value) for rule in rules):
            raise InvalidParameterError(
                f"The {name!r} parameter of {type(estimator).__name__} must be {' or '.join(map(str, rules))}. "
                f"Got {value!r} instead."
            )


def meaning(value: Any) -> Hashable:
    """Return what is equal for values of a parameter that mean the same."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return frozenset((name, meaning(of_name)) for name, of_name in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(meaning, value))
    if isinstance(value, partial):  # clone makes another one of it
        return value.func, meaning(value.args), meaning(value.keywords)
    if isinstance(value, Real) and not isinstance(value, bool):
        return "nan" if value != value else ("number", value)  # noqa: PLR0124 - holds for NaN only
    return (type(value).__name__, value) if isinstance(value, Hashable) else id(value)


@lru_cache
def _rules(cls: Hashable) -> dict[str, tuple[Rule, ...]]:
    return dict(_annotated(get_type_hints(cls, include_extras=True)))


def _annotated(hints: dict[str, Any]) -> Iterator[tuple[str, tuple[Rule, ...]]]:
    for name, hint in hints.items():
        if get_origin(hint) is Annotated:
            yield name, get_args(hint)[1:]
