"""Callbacks of scikit-learn: the tasks of a fit, and the estimator as if the fit had stopped after an epoch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from sklearn_ae.estimators.fitting import fitted_model as fitted_model
from sklearn_ae.estimators.fitting import partially_fitted_model as partially_fitted_model
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.model import Model
from sklearn_ae.training.callbacks import watched
from sklearn_ae.training.net import AutoencoderNet

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
    from sklearn.callback import with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing."""

    def with_callbacks(method: Any) -> Any:
        """Return the function itself."""
        return method


@with_callbacks
def watched_model(
    estimator: AutoencoderState, aside: AutoencoderState, fit: Callable[..., Model], n_epochs: int, *rows: Any
) -> Model:
    """Return the model of a fit, which is shown to the callbacks that ``set_callbacks`` has set.

    Parameters
    ----------
    estimator : AutoencoderState
        The estimator that the callbacks know.
    aside : AutoencoderState
        Its copy that is fitted.
    fit : callable
        ``(watch=...) -> Model``, the fit of the copy.
    n_epochs : int
        Maximum number of epochs.
    *rows
        X, y and sample_weight, as for ``fit``.
    """
    if not has_callbacks(estimator):
        return fit()
    watch = _Watch(estimator, aside, n_epochs, *rows)
    watch.begin(watch.root)
    model = fit(watch=watch.training)
    watch.end(watch.root, lambda: model)
    return model


@with_callbacks
def fit_inside(estimator: Any, inner: AutoencoderState, X: Any, **rows: Any) -> AutoencoderState:
    """Fit the autoencoder of a meta-estimator, as a task of its fit, and return it."""
    if not has_callbacks(estimator):
        return inner.fit(X, **rows)
    root = estimator._init_callback_context(max_subtasks=1)
    root.call_on_fit_task_begin(estimator=estimator, X=X)
    task = root.subcontext("autoencoder")
    with task.propagate_callback_context(inner):
        task.call_on_fit_task_begin(estimator=estimator, X=X)
        inner.fit(X, **rows)
        task.call_on_fit_task_end(estimator=estimator, X=X)
    root.call_on_fit_task_end(estimator=estimator, X=X)
    return inner


def has_callbacks(estimator: Any) -> bool:
    """Whether ``set_callbacks`` has set callbacks."""
    return bool(getattr(estimator, "_skl_callbacks", None))


class _Watch:
    """Tells the callbacks of an estimator the tasks of a fit: the fit, its members if there are several, epochs."""

    def __init__(
        self, estimator: Any, aside: AutoencoderState, n_epochs: int, X: Any, y: Any, sample_weight: Any
    ) -> None:
        self.aside = aside
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        n_members = aside.n_members
        self.root = estimator._init_callback_context(
            max_subtasks=n_epochs if n_members == 1 else n_members, sequential_subtasks=n_members == 1
        )

    @contextmanager
    def task(self, context: Any, model: Callable[[], Model]) -> Iterator[None]:
        """Tell the begin and the end of a task; ``model`` returns the model at its end."""
        self.begin(context)
        yield
        self.end(context, model)

    def begin(self, context: Any) -> None:
        """Tell the begin of a task."""
        context.call_on_fit_task_begin(**self.told)

    def end(self, context: Any, model: Callable[[], Model]) -> bool:
        """Tell the end of a task; return whether a callback asks to stop the training."""

        def attributes() -> dict[str, Any]:  # called if a callback reads the fitted estimator
            return {"_last_fit": self.aside._with_attributes(model_=model()), "_skl_callbacks": []}

        return context.call_on_fit_task_end(**self.told, reconstruction_attributes=attributes)

    @contextmanager
    def training(self, nets: Sequence[AutoencoderNet], model_of: Callable[[int], Model]) -> Iterator[None]:
        """Tell the epochs of the nets; ``model_of(k)`` returns the model of net k as if its training had stopped."""
        models = [partial(model_of, index) for index in range(len(nets))]
        with ExitStack() as stack:
            for index, (net, model) in enumerate(zip(nets, models, strict=True)):
                context = self.root
                if len(nets) > 1:
                    context = self.root.subcontext("member", index, max_subtasks=net.max_epochs)
                    stack.enter_context(self.task(context, model))
                stack.enter_context(watched(net, partial(self.epoch, context, model)))
            yield

    def epoch(self, context: Any, model: Callable[[], Model]) -> Callable[[], bool]:
        """Tell the begin of an epoch, and return what tells its end."""
        task = context.subcontext("epoch")
        self.begin(task)
        return partial(self.end, task, model)
