"""What values a parameter may take, and how it is said when it may not."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Annotated, Any

import numpy as np
import pytest

from sklearn_ae.estimators.parameters import (
    Bool,
    Float,
    Function,
    Instance,
    Int,
    InvalidParameterError,
    LayerSizes,
    OneOf,
    Scalar,
    Subclass,
    check_parameters,
)
from sklearn_ae.likelihoods.counts import Counts, Poisson
from sklearn_ae.likelihoods.gaussian import UnitGaussian
from sklearn_ae.likelihoods.numeric import Numeric

ADMITTED = [
    (Int(1), [1, 7, np.int64(1), np.int8(3), np.uint16(2)]),
    (Int(0), [0, np.int32(0)]),
    (Int(0, 7), [0, 7, np.int64(7)]),
    (Float(0), [0, 0.0, 3, 1e300, np.float32(0.5), np.int64(2), Fraction(1, 3)]),
    (Float(0, 1), [0, 0.999, np.float64(0.5)]),
    (Float(0, 1, closed_low=False), [1e-300, 0.5]),
    (Float(0, 1, closed_high=True), [0, 1]),
    (OneOf("relu", "tanh", None), ["relu", "tanh", None]),
    (Bool(), [True, False, np.True_, np.False_]),
    (Function(), [len, int]),
    (LayerSizes(), [(), [], (1,), [128, 64], (np.int64(3), 2), np.array([4, 5])]),
    (Scalar(), [None, 0, "x", b"x", nan]),
    (Instance(str, dict), ["", {}]),
    (Subclass(Numeric), [Poisson, UnitGaussian]),
]
REFUSED = [
    (Int(1), [0, -1, 1.0, 1.5, "1", None, True, np.True_, np.float64(1), nan, (1,)]),
    (Int(0), [-1, False, np.False_]),
    (Int(0, 7), [8, -1, np.int64(8)]),
    (Float(0), [-1e-300, inf, nan, "1", None, True, np.True_, 1j, Decimal("0.5")]),
    (Float(0, 1), [1, -0.1, np.float64(1.0), np.float32(nan)]),
    (Float(0, 1, closed_low=False), [0, 0.0, 1]),
    (Float(0, 1, closed_high=True), [1.0001]),
    (OneOf("relu", "tanh", None), ["RELU", "", 0, False, ("relu",), np.array(["relu", "tanh"])]),
    (OneOf("balanced", None), [False, 0]),
    (Bool(), [0, 1, None, "True"]),
    (Function(), [None, "len", 3]),
    (LayerSizes(), [64, None, "64", (0,), (1.5,), (True,), [[3]], {3: 4}, (64, "a"), (-1,)]),
    (Scalar(), [(), [0], {}, {1}, np.array([0, 1]), np.array(0)]),
    (Instance(str), [b"", 1, None]),
    (Subclass(Numeric), [Numeric, Counts, Poisson(1), "poisson", int, None]),
]


def pairs(table):
    return [pytest.param(rule, value, id=f"{rule}: {value!r}") for rule, values in table for value in values]


@pytest.mark.parametrize(("rule", "value"), pairs(ADMITTED))
def test_a_rule_admits_what_is_in_its_set(rule, value):
    assert rule.admits(value) is True


@pytest.mark.parametrize(("rule", "value"), pairs(REFUSED))
def test_a_rule_refuses_all_else(rule, value):
    assert rule.admits(value) is False


@pytest.mark.parametrize("value", np.array(["relu", "tanh"]))
def test_a_string_out_of_a_numpy_array_is_a_string(value):
    """Searches draw them from arrays."""
    assert OneOf("relu", "tanh").admits(value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Int(1), "an int in the range [1, inf)"),
        (Int(0, 7), "an int in the range [0, 7]"),
        (Float(0, 1), "a float in the range [0, 1)"),
        (Float(0, closed_low=False), "a float in the range (0, inf)"),
        (Float(0, 0.5, closed_high=True), "a float in the range [0, 0.5]"),
        (OneOf("a", None), "'a' or None"),
        (OneOf("a", "b", None), "one of ['a', 'b', None]"),
        (Bool(), "a bool"),
        (Function(), "a callable"),
        (LayerSizes(), "a tuple of ints in the range [1, inf)"),
        (Instance(str, dict), "an instance of str or dict"),
        (Subclass(Numeric), "a subclass of Numeric"),
    ],
)
def test_a_rule_says_what_it_admits(rule, words):
    assert str(rule) == words


@dataclass
class Estimator:
    """Has rules, for some of its parameters."""

    size: Annotated[int, Int(1)] = 1
    rate: Annotated[str | float, OneOf("auto"), Float(0)] = "auto"
    free: Any = None


@dataclass
class Child(Estimator):
    """Narrows a parameter and adds one."""

    rate: Annotated[float, Float(0, 1)] = 0.5
    own: Annotated[bool, Bool()] = True


@pytest.mark.parametrize("values", [{}, {"size": 3}, {"rate": 0.5}, {"rate": "auto"}, {"free": object()}])
def test_good_parameters_pass(values):
    check_parameters(Estimator(**values))


def test_the_error_says_which_parameter_of_what_must_be_what_and_was_what():
    with pytest.raises(InvalidParameterError) as error:
        check_parameters(Estimator(size=0))
    assert str(error.value) == (
        "The 'size' parameter of Estimator must be an int in the range [1, inf). Got 0 instead."
    )


def test_the_error_gives_all_the_ways():
    with pytest.raises(InvalidParameterError, match=r"must be 'auto' or a float in the range \[0, inf\). Got 'fast'"):
        check_parameters(Estimator(rate="fast"))


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_the_error_is_of_the_kinds_that_scikit_learn_raises(kind):
    with pytest.raises(kind):
        check_parameters(Estimator(size="1"))


@pytest.mark.parametrize("values", [{"rate": "auto"}, {"rate": 1.0}, {"own": 1}, {"size": 0}])
def test_a_child_has_the_rules_of_its_parent_and_its_own(values):
    check_parameters(Child())
    with pytest.raises(InvalidParameterError, match=f"'{next(iter(values))}' parameter of Child"):
        check_parameters(Child(**values))
