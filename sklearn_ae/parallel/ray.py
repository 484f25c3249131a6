"""Ray as an executor."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class RayExecutor(Executor):
    """An executor whose workers are those of a Ray cluster, to be used after ``ray.init()``.

    Parameters
    ----------
    num_workers : int, optional
        Number of calls that run at once. By default as many as the CPUs of the cluster admit.
    num_cpus : int, default=1
        CPUs that each call uses.
    **options
        Other options of ``ray.remote``, such as ``num_gpus=1``.

    Examples
    --------
    >>> import joblib, ray  # doctest: +SKIP
    >>> ray.init()  # doctest: +SKIP
    >>> with joblib.parallel_config(backend="sklearn_ae", executor=RayExecutor()):  # doctest: +SKIP
    ...     search.fit(X, y)
    """

    def __init__(self, num_workers: int | None = None, num_cpus: int = 1, **options: Any) -> None:
        import ray

        self.num_cpus = num_cpus
        self.num_workers = num_workers or max(1, int(ray.cluster_resources()["CPU"]) // num_cpus)
        self.put = ray.put
        self._remote = ray.remote(**{"num_cpus": num_cpus, "max_retries": 0} | options)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Call a function on a worker."""
        future: Future = self._remote(fn).remote(*args, **kwargs).future()
        return future
