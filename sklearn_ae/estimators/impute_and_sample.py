"""Filled and generated rows, of all families."""

from abc import ABC
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ae.estimators import inputs
from sklearn_ae.estimators.fitted import of_one_fit
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.tables.containers import Container, TableLike
from sklearn_ae.tables.known import completed, errors_of_given


class ImputesAndSamples(AutoencoderState, ABC):
    """Methods that fill and generate rows."""

    @of_one_fit
    def impute(
        self, X: TableLike, n_draws: int | None = None, random_state: int | np.random.RandomState | None = None
    ) -> Any:
        """Fill missing cells given the observed cells of their row.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows, which may be new.
        n_draws : int, default=None
            Number of multiple imputations. None fills missing cells with expected numbers and most probable categories.
        random_state : int, RandomState or None, default=None
            Seed or generator of the draws.

        Returns
        -------
        filled : ndarray or DataFrame of shape (n_samples, n_features), or list of such
            The rows with missing cells filled, one table per draw if ``n_draws`` is given. Observed cells do not
            change. Filled numbers are within the range of their column in the fit, and drawn ones have its decimals.
            Numeric columns without any value in ``fit`` are filled with 0, and categorical ones stay missing.
        """
        n_draws = None if n_draws is None else inputs.check_count("n_draws", n_draws)
        table = self._table(X, finite="allow-nan").held("impute")
        if n_draws is None:
            return self.model_.expected(table)
        return self.model_.drawn(table, n_draws, inputs.check_random(random_state))

    @of_one_fit
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        y: ArrayLike | None = None,
        *,
        given: Any = None,
        missing: bool = False,
    ) -> Any:
        r"""Generate rows.

        A code is drawn from a Gaussian mixture of the codes of training rows [1]_, and cells from ``p(x | z)``: numbers
        with the residual noise that the fit has measured, and categories by their probabilities. Each number is then
        replaced by the value of its column at the same quantile level, so that the marginal distribution of each
        column is that of the training rows. ``inverse_transform`` of codes returns expected rows without noise.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            Seed or generator.
        y : label or value, or array-like of shape (n_samples,), default=None
            Target of all rows, or of each row. The mixture has components of its own for each class, from which codes
            of rows of the class are drawn. A value conditions code and cells as a known cell does.
        given : dict, DataFrame or array-like, default=None
            Known cells of all rows, or of each row: one row, or ``n_samples`` rows. A dict maps columns to a cell or to
            ``n_samples`` cells. Columns that are left out, and missing cells, are drawn given the known cells, which
            are returned as they are.
        missing : bool, default=False
            Whether rows have missing cells, with the patterns that training rows of similar codes have. Otherwise
            every cell is filled.

        Returns
        -------
        rows : ndarray or DataFrame of shape (n_samples, n_features)
            Rows with the units, columns and dtypes of the training rows, in a table of their kind. Drawn numbers are
            within the range of their column, and have its decimals. A column whose dtype can't hold its cells of
            ``given`` has a wider dtype.

        Raises
        ------
        ValueError
            If ``y`` or ``given`` hold classes, columns or categories that were not in the fit, or a class of which no
            training row is.

        Notes
        -----
        A cell of ``given`` outside the range of the training rows, and a value of ``y`` outside the range of the
        generated ones, condition like the end of this range.

        Conditional codes are resampled by importance from the mixture and then moved by elliptical slice sampling
        [2]_, which leaves ``p(z | known)`` invariant. If so much is known of a row that almost no code of the mixture
        explains it, the codes are corrected before by linear regression on the known numbers [3]_.

        References
        ----------
        .. [1] Ghosh, P. et al. (2020). From variational to deterministic autoencoders. ICLR. Section 4.
        .. [2] Murray, I., Adams, R. P. & MacKay, D. J. C. (2010). Elliptical slice sampling. AISTATS.
        .. [3] Evensen, G. (2003). The ensemble Kalman filter: theoretical formulation and practical implementation.
           Ocean Dynamics 53. Section 4.
        """
        n_samples = inputs.check_count("n_samples", n_samples)
        inputs.check_bool("missing", missing)
        random = inputs.check_random(random_state)
        known = None
        if given is not None:
            complete = completed(given, n_samples, self.model_.encoding.schema.container)
            with errors_of_given():
                known = self._table(complete, finite="allow-nan")
        return self.model_.generated(n_samples, random, y, known, missing=missing)

    def _table(self, X: TableLike, finite: bool | str = False) -> Container:
        """Return X with the columns of the fit; an infinite cell may be found later, when its block is encoded."""
        return inputs.check_known_table(self, X, self.model_.encoding.schema, finite=finite)
