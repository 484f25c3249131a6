"""Autoencoders as scikit-learn estimators."""

from sklearn_ae.estimators.adversarial import AdversarialAutoencoder
from sklearn_ae.estimators.imputer import AutoencoderImputer
from sklearn_ae.estimators.outliers import AutoencoderOutlierDetector
from sklearn_ae.estimators.regularized import RegularizedAutoencoder
from sklearn_ae.estimators.saved import load
from sklearn_ae.estimators.variational import VariationalAutoencoder
from sklearn_ae.parallel import StackingBackend as StackingBackend  # registers itself with joblib
from sklearn_ae.tables.stored import StoredTable
from sklearn_ae.training.distributed import distributed

__version__ = "0.1.0"
__all__ = [
    "AdversarialAutoencoder",
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "RegularizedAutoencoder",
    "StoredTable",
    "VariationalAutoencoder",
    "__version__",
    "distributed",
    "load",
]
