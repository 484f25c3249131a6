"""What a fit leaves: it is made aside and handed over at its end, so that whoever reads meets one whole fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from sklearn.utils.validation import check_is_fitted

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound="FittedAside")


class FittedAside:
    """An estimator whose fits are made aside.

    The estimator itself holds parameters, and one attribute that holds its last fit: a copy of the estimator, with the
    parameters of that fit and all that was learned. The copy is never changed after the fit. So readers in other
    threads meet the old fit or the new one, a fit that fails leaves no trace, and parameters that are set after a fit
    wait for the next one.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let ``transform`` read one fit, names of its columns included, which scikit-learn asks for around it."""
        super().__init_subclass__(**kwargs)
        if "transform" in vars(cls):
            cls.transform = of_one_fit(cls.transform)  # type: ignore[attr-defined]

    @contextmanager
    def _aside(self, *, goes_on: bool = False) -> Iterator[tuple[Self, Self | None]]:
        """Hand out a copy to fit, and the fit that it goes on from, if any; the copy counts if nothing is raised."""
        own = dict(vars(self))
        fitted = own.pop("_last_fit", None)
        last = fitted if goes_on else None
        aside = object.__new__(type(self))
        vars(aside).update(own if last is None else {**vars(last), **own})
        yield aside, last
        kept = self.get_params(deep=False)  # type: ignore[attr-defined]
        for name, value in own.items():
            if name not in kept and vars(aside).get(name) is value:  # neither a parameter nor learned: no part of a fit
                del vars(aside)[name]
        vars(aside)["_last_fit"] = None
        self._last_fit: Self | None = aside

    def _as_fitted(self) -> Self:
        """Return the estimator as its last fit left it, or itself while there is none."""
        fitted = vars(self).get("_last_fit")
        return self if fitted is None else fitted

    def __sklearn_is_fitted__(self) -> bool:
        return "_last_fit" in vars(self)

    if not TYPE_CHECKING:  # a type checker would believe that all attributes are there

        def __getattr__(self, name: str) -> Any:
            """Return what the last fit learned."""
            learned = vars(self._as_fitted())
            if name in learned:
                return learned[name]
            if name.endswith("_") and not name.startswith("_") and "_last_fit" not in learned:
                raise AttributeError(f"this {type(self).__name__} is not fitted yet, or has no {name}: call fit first")
            return super().__getattribute__(name)  # says itself what is wrong

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *vars(self._as_fitted())})

    def __getstate__(self) -> dict[str, Any]:
        return dict(super().__getstate__())  # type: ignore[call-overload]  # a copy: a fit may end meanwhile


def of_one_fit(method: Callable[Concatenate[E, P], R]) -> Callable[Concatenate[E, P], R]:
    """Let a method read one fit, with the parameters of that fit, whatever happens to the estimator meanwhile."""

    @wraps(method)
    def of_the_last_fit(self: E, /, *args: P.args, **kwargs: P.kwargs) -> R:
        check_is_fitted(self)
        fitted = self._as_fitted()
        if fitted is self:
            return method(self, *args, **kwargs)
        read = object.__new__(type(self))
        # Beside the fit there may be what set_output wrote, and what a class of a user's own keeps.
        vars(read).update({**vars(self), **vars(fitted)})
        return method(read, *args, **kwargs)

    return of_the_last_fit
