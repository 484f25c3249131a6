"""A program as an ONNX graph."""

import os
import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sklearn_ae.model.model import Model
from sklearn_ae.shipping.operators import translations
from sklearn_ae.shipping.program import METHODS as METHODS
from sklearn_ae.shipping.program import Output, Program

OPSET = 18  # version of the operators of the graph
LABELS_OPSET = 3  # version of the operators of machine learning, of which the graph uses LabelEncoder
PREFIX = "sklearn_ae/"  # of the names inside the graph, which no column has
N_EXAMPLES = 3  # rows that the graph is traced with


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
    onnx = _imported()
    program = Program(model, method).eval()
    proto = onnx.compose.add_prefix(_traced(program), PREFIX)
    proto.producer_name, proto.producer_version = "sklearn_ae", version("sklearn_ae")
    onnx.helper.set_model_props(proto, {"method": method})
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", LABELS_OPSET))
    _name_inputs(proto.graph, program)
    _name_outputs(proto.graph, program.outputs)
    onnx.checker.check_model(proto)
    return proto


def write(proto: Any, path: str | os.PathLike[str]) -> None:
    """Write a graph to a file. Another file of this name is replaced at once, and only if the new one is complete."""
    path = Path(path)
    file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False)
    try:
        with file:
            file.write(proto.SerializeToString())
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise


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
    examples = program.rows.examples(N_EXAMPLES)
    program(examples)  # what is computed once and kept, such as fixed draws, is then there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about its own code
        exported = torch.onnx.export(
            program,
            (examples,),
            dynamo=True,
            dynamic_shapes=([{0: torch.export.Dim("n")} for _ in examples],),
            opset_version=OPSET,
            custom_translation_table=translations(),
            verbose=False,
        )
    return exported.model_proto


def _name_inputs(graph: Any, program: Program) -> None:
    """Give the inputs their names, and the columns of strings strings in place of their numbers."""
    ports = program.rows.all_ports if program.rows.by_column else [None]
    for value, port in zip(graph.input, ports, strict=True):
        inside, value.name = value.name, "X" if port is None else port.name
        if port is None or port.ids is None:
            _rename(graph, inside, value.name)
        else:
            _make_strings(value)
            numbers = dict(keys_strings=list(port.ids), values_int64s=list(port.ids.values()))
            graph.node.insert(0, _label_encoder(value.name, inside, default_int64=port.other_id, **numbers))


def _name_outputs(graph: Any, outputs: Sequence[Output]) -> None:
    """Give the outputs their names, and strings in place of numbers."""
    for value, output in zip(graph.output, outputs, strict=True):
        inside, value.name = value.name, output.name
        if output.strings is None:
            _rename(graph, inside, value.name)
        else:
            _make_strings(value)
            numbers = range(output.first, output.first + len(output.strings))
            graph.node.append(
                _label_encoder(inside, value.name, keys_int64s=list(numbers), values_strings=list(output.strings))
            )


def _label_encoder(source: str, target: str, **attributes: Any) -> Any:
    from onnx import helper

    name = f"{PREFIX}{source} to {target}"
    return helper.make_node("LabelEncoder", [source], [target], name, domain="ai.onnx.ml", **attributes)


def _make_strings(value: Any) -> None:
    from onnx import TensorProto

    value.type.tensor_type.elem_type = TensorProto.STRING


def _rename(graph: Any, old: str, new: str) -> None:
    """Rename a value wherever a node reads or writes it."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
