"""Autoencoders as scikit-learn estimators."""

from sklearn_ae.families.adversarial import AdversarialAutoencoder
from sklearn_ae.families.regularized import RegularizedAutoencoder
from sklearn_ae.families.variational import VariationalAutoencoder
from sklearn_ae.imputer import AutoencoderImputer
from sklearn_ae.parallel import StackingBackend as StackingBackend  # joblib knows it from now on

__version__ = "0.1.0"
__all__ = [
    "AdversarialAutoencoder",
    "AutoencoderImputer",
    "RegularizedAutoencoder",
    "VariationalAutoencoder",
    "__version__",
]
