"""A program as an ONNX graph."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch

from sklearn_ae.model.model import Model
from sklearn_ae.model.targets import Target
from sklearn_ae.shipping.edges import PREFIX, give_columns, give_inputs, give_outputs
from sklearn_ae.shipping.operators import translations
from sklearn_ae.shipping.program import METHODS as METHODS
from sklearn_ae.shipping.program import Program, labels_of, parts_of

OPSET = 18  # version of the operators of the graph
LABELS_OPSET = 3  # version of the operators of machine learning, of which the graph uses LabelEncoder
N_EXAMPLES = 3  # rows that the graph is traced with
NAMES = {  # of the outputs
    "transform": "codes",
    "predict": "value",
    "predict_proba": "probabilities",
    "reconstruct": "reconstructed",
    "score_samples": "log_likelihood",
}


def onnx_model(model: Model, method: str) -> Any:
    """Return one method of a model as an ONNX ModelProto.

    Parameters
    ----------
    model : Model
        What a fit leaves behind.
    method : str
        A key of ``METHODS``.

    Returns
    -------
    proto : ModelProto
        Its inputs and outputs are those of ``Program``, with strings in place of their numbers.

    Raises
    ------
    ImportError
        If ``onnx`` or ``onnxscript`` is not installed.
    ValueError
        If something in the fit can't be expressed in a graph.
    """
    from sklearn_ae import __version__

    onnx = _imported()
    program = Program(model, method).eval()
    restores_columns = method == "reconstruct" and program.by_column
    outputs = [] if restores_columns else _outputs(model, method)
    _check_names(program, [name for name, _ in outputs])
    proto = onnx.compose.add_prefix(_traced(program), PREFIX)
    proto.producer_name, proto.producer_version = "sklearn_ae", __version__
    onnx.helper.set_model_props(proto, {"method": method})
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", LABELS_OPSET))
    give_inputs(proto.graph, program.ports if program.by_column else None)
    if restores_columns:
        give_columns(proto.graph, program.ports)
    else:
        give_outputs(proto.graph, outputs)
    onnx.checker.check_model(proto)
    return proto


def _outputs(model: Model, method: str) -> list[tuple[str, list[str] | None]]:
    """Return the name of each output, and the strings that its numbers stand for."""
    classes = model.target.classes
    if classes is None or method not in ("predict", "predict_proba"):
        return [(NAMES[method], None)]
    name = "label" if method == "predict" else NAMES[method]
    parts = parts_of(model.target)
    names = [f"{name}_{column}" for column in range(len(parts))] if len(parts) > 1 else [name]
    return [(name, _strings(part) if method == "predict" else None) for name, part in zip(names, parts, strict=True)]


def _check_names(program: Program, outputs: Sequence[str]) -> None:
    """Raise if a column, which is an input, has the name of an output."""
    taken = {port.name for port in program.ports} & set(outputs)
    if program.by_column and taken:
        raise ValueError(f"columns must have other names than the outputs of a graph, got {sorted(taken)}: rename them")


def _strings(part: Target) -> list[str] | None:
    """Return the labels of a column of y if they are strings."""
    labels = labels_of(part)
    return labels.tolist() if labels.dtype.kind == "U" else None


def write(proto: Any, path: str | os.PathLike[str]) -> None:
    """Write a graph to a file. Another file of this name is replaced at once, and only if the new one is complete."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{token_hex(8)}.part")
    try:
        part.write_bytes(proto.SerializeToString())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _imported() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.compose
        import onnx.helper
        import onnxscript  # noqa: F401  # torch needs it
    except ImportError as error:
        raise ImportError(
            f"onnx and onnxscript must be installed to ship a fit, got: {error}. Run pip install 'sklearn_ae[onnx]'"
        ) from error
    return onnx


@torch.no_grad()
def _traced(program: Program) -> Any:
    example = torch.zeros(N_EXAMPLES, len(program.ports), dtype=program.dtype, device="cpu")
    program(example)  # what is computed once and kept, such as fixed draws, is then there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about its own code
        exported: Any = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            custom_translation_table=translations(),
            verbose=False,
        )
    return exported.model_proto
