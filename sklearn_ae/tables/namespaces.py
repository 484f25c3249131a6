"""Results as tensors, if the table is a tensor and scikit-learn's ``array_api_dispatch`` is set."""

from typing import Any

import numpy as np
import torch
from sklearn import get_config


def as_given(result: Any, X: Any) -> Any:
    """Return numeric arrays of a result as tensors on the device of X, if X is a tensor and the setting is on."""
    if not (isinstance(X, torch.Tensor) and get_config()["array_api_dispatch"]):
        return result
    if isinstance(result, list | tuple):
        return type(result)(as_given(part, X) for part in result)
    if isinstance(result, np.ndarray) and result.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(result)).to(X.device)
    return result
