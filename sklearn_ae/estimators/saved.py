"""Fitted estimators in files that hold no code."""

import os
from collections.abc import Collection
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from sklearn_ae.estimators.documentation import Linked
from sklearn_ae.estimators.fitted import FittedAside
from sklearn_ae.persistence.files import read, write


class Saved(Linked, FittedAside):
    """An estimator that can be saved in a file and loaded from it."""

    def save(self, path: str | os.PathLike[str], *, trusted: Collection[Any] = ()) -> None:
        """Save the fitted estimator in a file that holds data and no code.

        The file is in the safetensors format: the numbers as tensors, parameters and columns as JSON in its header. It
        holds no rows of the fit. An existing file is replaced when the new one is complete.

        Parameters
        ----------
        path : path-like
            The file.
        trusted : collection of class or function, default=()
            Classes and functions of your own that the estimator holds, for example a callable penalty. Their names are
            saved, and ``load`` must get them, too.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator holds something that is neither data nor a part of sklearn_ae, for example callbacks.
        OSError
            If the file can't be written. A file that was there is unchanged.

        See Also
        --------
        sklearn_ae.load : Load an estimator of any class.

        Examples
        --------
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_ae import RegularizedAutoencoder
        >>> X, y = load_iris(return_X_y=True)
        >>> model = RegularizedAutoencoder(2, max_iter=5).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/iris.safetensors")
        ...     loaded = RegularizedAutoencoder.load(f"{folder}/iris.safetensors")
        >>> (loaded.predict(X) == model.predict(X)).all()
        np.True_
        """
        check_is_fitted(self)
        write(self, path, trusted)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trusted: Collection[Any] = ()) -> Self:
        """Load a fitted estimator of this class from a file.

        Parameters
        ----------
        path : path-like
            A file that ``save`` has written. Nothing in it is run, so it may come from anybody.
        trusted : collection of class or function, default=()
            Classes and functions of your own that the file may name.

        Returns
        -------
        estimator : object
            The estimator, on the device of the fit, or on the CPU if there is no such device.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If ``save`` has not written the file, if it is damaged, if a newer version of sklearn_ae has written it, or
            if it holds an estimator of another class.
        """
        found = read(path, (cls, *trusted))
        if not isinstance(found, cls):
            raise ValueError(f"path must be a file with a {cls.__name__}, got a {type(found).__name__}")
        return found

    def saved_state(self) -> dict[str, Any]:
        """Return what ``save`` writes. The callbacks of the fit are left out, since they belong to its training.

        Returns
        -------
        state : dict
            Parameters and fit.
        """
        state = self.__getstate__()
        if state.get("callbacks"):
            raise ValueError(
                f"callbacks must be None to save the estimator, got {state['callbacks']!r}: call "
                "set_params(callbacks=None) before, which changes nothing in the fit"
            )
        if of_scikit_learn := state.pop("_skl_callbacks", None):
            raise ValueError(
                f"callbacks of scikit-learn must be removed to save the estimator, got {of_scikit_learn!r}: "
                "call set_callbacks() before, which changes nothing in the fit"
            )
        fit = state.get("_last_fit")
        if getattr(fit, "callbacks", None):
            without = object.__new__(type(fit))
            vars(without).update({**vars(fit), "callbacks": None})
            state["_last_fit"] = without
        if "_metadata_request" in state:  # it refers to the estimator
            state["_metadata_request"] = _requests_of(state["_metadata_request"])
        return state

    @classmethod
    def from_saved_state(cls, state: dict[str, Any]) -> Self:
        """Return the estimator of a saved state.

        Parameters
        ----------
        state : dict
            A state that ``saved_state`` has returned.

        Returns
        -------
        estimator : object
            The estimator.
        """
        state, estimator = dict(state), object.__new__(cls)
        requests = state.pop("_metadata_request", None)
        vars(estimator).update(state)
        if requests is not None:
            made = estimator._get_metadata_request()  # type: ignore[attr-defined]
            for method, of_method in requests.items():
                for name, alias in of_method.items():
                    getattr(made, method).add_request(param=name, alias=alias)
            vars(estimator)["_metadata_request"] = made
        return estimator


def _requests_of(routing: Any) -> dict[str, dict[str, Any]]:
    """Return which metadata the methods of an estimator request, by method and name."""
    return {method: dict(of.requests) for method, of in vars(routing).items() if getattr(of, "requests", None)}


def load(path: str | os.PathLike[str], *, trusted: Collection[Any] = ()) -> Any:
    """Load a fitted estimator from a file.

    Parameters
    ----------
    path : path-like
        A file that the method ``save`` of an estimator has written. Nothing in it is run, so it may come from anybody.
    trusted : collection of class or function, default=()
        Classes and functions of your own that the file may name, for example a callable penalty.

    Returns
    -------
    estimator : object
        The estimator, on the device of the fit, or on the CPU if there is no such device.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If ``save`` has not written the file, if it is damaged, or if a newer version of sklearn_ae has written it.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> import sklearn_ae
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = sklearn_ae.VariationalAutoencoder(2, max_iter=5).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/iris.safetensors")
    ...     loaded = sklearn_ae.load(f"{folder}/iris.safetensors")
    >>> (loaded.transform(X) == model.transform(X)).all()
    np.True_
    """
    return read(path, trusted)
