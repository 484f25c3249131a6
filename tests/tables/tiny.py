"""The estimator of these tests: fitted in milliseconds, with no rare categories."""

from functools import partial

from tests.families import tiny as families_tiny

tiny = partial(families_tiny, hidden_layer_sizes=(4,), max_iter=2, min_frequency=1)
