"""Warnings that point to the user's line."""

import sys
import warnings

# A call from the user's line may pass through these before it reaches the line that warns.
PASSED_THROUGH = {"sklearn_ae", "sklearn", "skorch", "joblib", "contextlib", "threading", "concurrent"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this package that made the call.

    Parameters
    ----------
    message : str
        What is wrong, and the way out.
    category : type, default=UserWarning
        Class of the warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in PASSED_THROUGH:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
