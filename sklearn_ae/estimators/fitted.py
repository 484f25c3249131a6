"""Fitted state: a fit is built aside and assigned once, so that every reader sees one complete fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, cast

from sklearn.utils.validation import check_is_fitted

from sklearn_ae.tables.namespaces import as_given

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound="FittedAside")

# What scikit-learn keeps in an estimator while callbacks watch its fit: a copy made by a callback is not under way.
OF_A_FIT_UNDER_WAY = ("_callback_fit_ctx", "_parent_callback_ctx", "_skl_callbacks_to_teardown")


class FittedAside:
    """An estimator that is fitted aside.

    The estimator holds its parameters, and the last fit in one attribute: a copy of the estimator with the parameters
    of that fit and all fitted attributes. The copy is never changed after the fit. So readers in other threads see the
    old fit or the new one, a fit that fails changes nothing, and parameters that are set after a fit take effect in the
    next one.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let ``transform`` read one fit, including the feature names that scikit-learn's wrapper reads around it."""
        super().__init_subclass__(**kwargs)
        if "transform" in vars(cls):
            cls.transform = of_one_fit(cls.transform)  # type: ignore[attr-defined]

    @contextmanager
    def _aside(self, *, continues: bool = False) -> Iterator[tuple[Self, Self | None]]:
        """Yield a copy to fit and the fit that it continues, or None; the copy is kept if nothing is raised."""
        own = dict(vars(self))  # a copy: other threads may add attributes
        for name in ("_skl_callbacks", *OF_A_FIT_UNDER_WAY):
            own.pop(name, None)
        fitted = own.pop("_last_fit", None)
        last = fitted if continues else None
        aside = object.__new__(type(self))
        vars(aside).update(own if last is None else {**vars(last), **own})
        yield aside, last
        kept = self.get_params(deep=False)  # type: ignore[attr-defined]
        for name, value in own.items():
            if name not in kept and vars(aside).get(name) is value:  # neither a parameter nor set by the fit
                del vars(aside)[name]
        vars(aside)["_last_fit"] = None
        self._last_fit: Self | None = aside

    def _replace_in_fit(self, **learned: Any) -> None:
        """Replace what the last fit has learned. The copy of the fit is replaced as a whole, as by a new fit."""
        check_is_fitted(self)
        self._last_fit = cast("Self", self.as_fitted())._with_attributes(**learned)

    def _with_attributes(self, **learned: Any) -> Self:
        """Return a copy with other fitted attributes."""
        copied = object.__new__(type(self))
        vars(copied).update({**vars(self), "_last_fit": None, **learned})
        return copied

    def as_fitted(self) -> Self:
        """Return the copy of the last fit, or the estimator itself before the first one."""
        fitted = vars(self).get("_last_fit")
        return self if fitted is None else fitted

    def __sklearn_is_fitted__(self) -> bool:
        return "_last_fit" in vars(self)

    if not TYPE_CHECKING:  # a type checker would believe that all attributes are there

        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the last fit."""
            learned = vars(self.as_fitted())
            if name in learned:
                return learned[name]
            if name.endswith("_") and not name.startswith("_") and "_last_fit" not in learned:
                raise AttributeError(f"this {type(self).__name__} is not fitted yet, or has no {name}: call fit first")
            return super().__getattribute__(name)  # raises its own message

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *vars(self.as_fitted())})

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())  # type: ignore[call-overload]  # a copy: a fit may end meanwhile
        return {name: value for name, value in state.items() if name not in OF_A_FIT_UNDER_WAY}


def of_one_fit(method: Callable[Concatenate[E, P], R]) -> Callable[Concatenate[E, P], R]:
    """Decorate a method to read one fit and its parameters, whatever other threads do to the estimator meanwhile.

    Calls from outside return tensors for tensors, if scikit-learn is set to.
    """

    @wraps(method)
    def reading_one_fit(self: E, /, *args: P.args, **kwargs: P.kwargs) -> R:
        check_is_fitted(self)
        fitted = self.as_fitted()
        if fitted is self:
            return method(self, *args, **kwargs)
        read = object.__new__(type(self))
        # set_output and classes of users may have added attributes to the estimator itself.
        vars(read).update({**vars(self), **vars(fitted)})
        result = method(read, *args, **kwargs)
        return as_given(result, args[0] if args else kwargs.get("X"))

    return reading_one_fit
