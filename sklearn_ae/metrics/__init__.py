"""How good generated rows are."""

from sklearn_ae.metrics.report import sample_report
from sklearn_ae.metrics.similarity import column_shapes, pair_trends

__all__ = ["column_shapes", "pair_trends", "sample_report"]
