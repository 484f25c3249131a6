"""Fits as graphs that other programs run, of all families."""

import os
from abc import ABC
from typing import TYPE_CHECKING

from sklearn_ae.estimators.fitted import of_one_fit
from sklearn_ae.estimators.state import AutoencoderState, has_classes, has_head
from sklearn_ae.shipping.graph import METHODS, onnx_model, write

if TYPE_CHECKING:
    import onnx

NEEDS = {"predict": has_head, "predict_proba": has_classes}


class Ships(AutoencoderState, ABC):
    """Methods that export a fit."""

    @of_one_fit
    def to_onnx(self, path: str | os.PathLike[str] | None = None, method: str = "transform") -> "onnx.ModelProto":
        """Return one method of the fit as an ONNX graph, which is run without this package and without PyTorch.

        Scaling, missing cells, unknown categories, all members, and the units of the results are in the graph. It
        computes in the precision of the fit, "bfloat16" in single precision, and returns codes, probabilities, values
        and likelihoods in single precision, values that are far from 0 as well in double precision.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write the graph to. None writes none.
        method : str, default="transform"
            What the graph computes:

            - ``"transform"``: ``codes``, (n, k);
            - ``"predict"``: ``label`` or, with ``task="regression"``, ``value``, (n,). After a fit to several columns
              of y, ``label_0``, ``label_1``, ..., each (n,), or ``value``, (n, n_columns);
            - ``"predict_proba"``: ``probabilities``, (n, n_classes), in the order of ``classes_``. After a fit to
              several columns of y, ``probabilities_0``, ``probabilities_1``, ..., each (n, n_classes);
            - ``"reconstruct"``: ``inverse_transform`` of the codes, ``reconstructed``, (n, d), or an output
              ``reconstructed_<column>``, (n, 1), for each column;
            - ``"score_samples"``: ``log_likelihood``, (n,), of ``score_samples`` without a tolerance.

        Returns
        -------
        graph : onnx.ModelProto
            The graph, with operators of opset 18 and of ai.onnx.ml 3. The number of rows is free.

        Raises
        ------
        ImportError
            If ``onnx`` or ``onnxscript`` is not installed: ``pip install "sklearn_ae[onnx]"``.
        ValueError
            If the method is unknown or the fit has no such method, if labels or categories are neither strings, numbers
            nor truth values, if a column that is an input has the name of an output, or if rows are reconstructed under
            constraints.

        Notes
        -----
        A table of numbers is one input ``X``, (n, d), with NaN for missing cells. It is in single precision, or in
        double precision if a column is more than 1,000 standard deviations away from 0, as times in seconds are. A
        table with categories has an input (n, 1) for each column, named as the column, with the dtype that the column
        had in the fit: strings, int64, bool, float or double. Whole numbers and truth values of a column that had
        missing cells are doubles, NaN where they are missing. An empty string is a missing cell, unless it is a
        category.

        The graph raises no errors: unknown categories are treated as with ``handle_unknown="ignore"``, and numbers
        that the likelihood of a column excludes are computed with.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_ae import RegularizedAutoencoder
        >>> X, y = load_iris(return_X_y=True)
        >>> model = RegularizedAutoencoder(2, max_iter=5, random_state=0).fit(X, y)
        >>> graph = model.to_onnx(method="predict")  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession(graph.SerializeToString())  # doctest: +SKIP
        >>> (labels,) = session.run(None, {"X": X.astype(np.float32)})  # doctest: +SKIP
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}")
        try:
            NEEDS.get(method, bool)(self)
        except AttributeError as error:
            raise ValueError(f"method must be one that the fit has, got {method!r}: {error}") from error
        graph = onnx_model(self.model_, method)
        if path is not None:
            write(graph, path)
        return graph
