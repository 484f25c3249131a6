"""The inputs and outputs of a graph in the user's terms: columns by name, and strings."""

from collections.abc import Sequence
from typing import Any

from sklearn_ae.shipping.ports import Port

PREFIX = "sklearn_ae/"  # of the names inside the graph, which no column has
TYPES = {"float": "FLOAT", "double": "DOUBLE", "int64": "INT64", "bool": "BOOL", "string": "STRING"}


def give_inputs(graph: Any, ports: Sequence[Port] | None) -> None:
    """Name the only input X, or replace it by one for each column."""
    table = graph.input[0]
    if ports is None:
        _rename(graph, table.name, "X")
        table.name = "X"
        return
    rows, nodes = table.type.tensor_type.shape.dim[0].dim_param, []
    for port in ports:
        source = port.name
        if port.ids is not None:
            numbers = {"keys_strings": list(port.ids), "values_floats": list(port.ids.values())}
            source = f"{PREFIX}number of {port.name}"
            nodes.append(_label_encoder(port.name, source, default_float=port.other_id, **numbers))
        nodes.append(_node("Cast", [source], f"{PREFIX}cells of {port.name}", to=table.type.tensor_type.elem_type))
    nodes.append(_node("Concat", [f"{PREFIX}cells of {port.name}" for port in ports], table.name, axis=1))
    _insert(graph.node, nodes)
    del graph.input[:]
    graph.input.extend(_value(port.name, port.type, rows) for port in ports)


def give_outputs(graph: Any, outputs: Sequence[tuple[str, Sequence[str] | None]]) -> None:
    """Name the outputs, and replace the numbers, from 0 on, of those that have strings by the strings."""
    for value, (name, strings) in zip(graph.output, outputs, strict=True):
        inside, value.name = value.name, name
        if strings is None:
            _rename(graph, inside, name)
        else:
            value.type.tensor_type.elem_type = _type("string")
            graph.node.append(_names(inside, name, strings, 0))


def give_columns(graph: Any, ports: Sequence[Port]) -> None:
    """Replace the only output, a table, by one output for each column."""
    import numpy as np
    from onnx import numpy_helper

    table = graph.output[0]
    for position, port in enumerate(ports):
        name = f"reconstructed_{port.name}"
        place, column, number = (f"{PREFIX}{part} of {name}" for part in ("place", "column", "number"))
        graph.initializer.append(numpy_helper.from_array(np.array([position]), place))
        graph.node.append(_node("Gather", [table.name, place], column, axis=1))
        if port.strings is None:
            graph.node.append(_node("Cast", [column], name, to=_type(port.type)))
        else:
            graph.node.append(_node("Cast", [column], number, to=_type("int64")))
            graph.node.append(_names(number, name, port.strings, 1))
    rows = table.type.tensor_type.shape.dim[0].dim_param
    del graph.output[:]
    graph.output.extend(_value(f"reconstructed_{port.name}", port.type, rows) for port in ports)


def _names(source: str, target: str, strings: Sequence[str], first: int) -> Any:
    """Return a node that maps numbers, from the first one on, to strings."""
    numbers = list(range(first, first + len(strings)))
    return _label_encoder(source, target, keys_int64s=numbers, values_strings=list(strings))


def _label_encoder(source: str, target: str, **attributes: Any) -> Any:
    return _node("LabelEncoder", [source], target, domain="ai.onnx.ml", **attributes)


def _node(kind: str, sources: Sequence[str], target: str, **options: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, sources, [target], f"{PREFIX}{kind} to {target}", **options)


def _value(name: str, kind: str, rows: str) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, _type(kind), [rows, 1])


def _type(kind: str) -> int:
    from onnx import TensorProto

    return int(TensorProto.DataType.Value(TYPES[kind]))


def _insert(nodes: Any, new: Sequence[Any]) -> None:
    """Insert nodes before all others."""
    others = list(nodes)
    del nodes[:]
    nodes.extend([*new, *others])


def _rename(graph: Any, old: str, new: str) -> None:
    """Rename a value wherever a node reads or writes it."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
