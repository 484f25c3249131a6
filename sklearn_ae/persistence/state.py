"""The state of an object for pickle and copy, and the one for skops, which can't store tensors."""

import copyreg
import json
from typing import Any

from sklearn_ae.persistence.graph import Decoder, Encoder


class Stored:
    """An object that pickle and copy take as it is, and that skops takes as nodes and arrays.

    skops asks for ``__getstate__``. Pickle and copy ask for ``__reduce_ex__`` first.
    """

    def saved_state(self) -> dict[str, Any]:
        """Return the attributes."""
        return dict(vars(self))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self),), self.saved_state()  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        encoder = Encoder()
        encoder.value(self, type(self).__name__)
        return {"nodes": json.dumps(encoder.nodes), "arrays": encoder.arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "nodes" in state:
            state = vars(Decoder(state["arrays"]).read(json.loads(state["nodes"])))
        vars(self).update(state)
