"""Converters of autoencoders for skl2onnx, which exports whole pipelines."""

from typing import Any

from sklearn.pipeline import Pipeline

from sklearn_ae.estimators.adversarial import AdversarialAutoencoder
from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.estimators.regularized import RegularizedAutoencoder
from sklearn_ae.estimators.variational import VariationalAutoencoder
from sklearn_ae.model.targets import Target
from sklearn_ae.shipping.graph import LABELS_OPSET, OPSET, onnx_model
from sklearn_ae.shipping.program import labels_of, parts_of

FAMILIES: tuple[type[BaseAutoencoder], ...] = (
    RegularizedAutoencoder,
    VariationalAutoencoder,
    AdversarialAutoencoder,
)
OPTIONS = {
    "method": ["transform", "predict"],
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [False],
}
METHOD_OF = {"codes": "transform", "value": "predict", "label": "predict", "probabilities": "predict_proba"}


def register_converters(*families: type[BaseAutoencoder]) -> None:
    """Make ``skl2onnx.to_onnx`` and ``skl2onnx.convert_sklearn`` convert pipelines with autoencoders of numeric tables.

    An autoencoder at the end of a pipeline that was fitted with y is converted to its predictions: ``label`` and
    ``probabilities``, or ``value``. Any other one is converted to its codes. ``options={id(model): {"method":
    "transform"}}`` of skl2onnx asks for the codes where an autoencoder is fitted with y and is neither a step of a
    pipeline nor its end.

    After a fit to several columns of y, ``value`` and ``label`` have shape (n, n_columns), and ``probabilities`` is a
    sequence with an array (n, n_classes) for each column, as skl2onnx converts ``MultiOutputClassifier``: the option
    ``zipmap`` is ignored.

    Parameters
    ----------
    *families : type
        Other families than those of this package.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.onnx_converters import register_converters
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(RegularizedAutoencoder(2, max_iter=5), LogisticRegression()).fit(X, y)
    >>> register_converters()  # doctest: +SKIP
    >>> graph = skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32))  # doctest: +SKIP
    """
    try:
        import skl2onnx
        from skl2onnx._parse import sklearn_parsers_map
    except ImportError as error:
        raise ImportError(
            f"skl2onnx must be installed to convert pipelines, got: {error}. Run pip install 'sklearn_ae[onnx]'"
        ) from error
    for family in (*FAMILIES, *families):
        skl2onnx.update_registered_converter(
            family, f"SklearnAe{family.__name__}", _set_shapes, _convert, parser=_outputs, options=OPTIONS
        )
    if sklearn_parsers_map[Pipeline] is not _pipeline_outputs:
        _pipeline_outputs.of_skl2onnx = sklearn_parsers_map[Pipeline]  # type: ignore[attr-defined]
        skl2onnx.update_registered_parser(Pipeline, _pipeline_outputs)


def _pipeline_outputs(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the outputs of a pipeline, of which all steps but the last one transform."""
    for _, step in model.steps[:-1]:
        if isinstance(step, BaseAutoencoder):
            scope.add_options(id(step), {"method": "transform"})
    return _pipeline_outputs.of_skl2onnx(scope, model, inputs, custom_parsers=custom_parsers)  # type: ignore[attr-defined]


def _outputs(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the outputs of an autoencoder."""
    from skl2onnx._parse import _parse_sklearn_classifier
    from skl2onnx.common.data_types import FloatTensorType, SequenceType

    target = model.model_.target
    default = "predict" if target.n_outputs else "transform"
    method = scope.get_options(model, {"method": default, "zipmap": True}, fail=False)["method"]
    has_classes = method == "predict" and target.classes is not None
    if has_classes and target.n_columns == 1:
        return _parse_sklearn_classifier(scope, model, inputs, custom_parsers=custom_parsers)
    operator = scope.declare_local_operator(f"SklearnAe{type(model).__name__}", model)
    operator.inputs = inputs
    types = {"value": FloatTensorType()} if method == "predict" else {"codes": FloatTensorType()}
    if has_classes:
        _check_options(scope.get_options(model, {}, fail=False))
        types = {"label": _label_type(target)(), "probabilities": SequenceType(FloatTensorType())}
    operator.outputs.extend(scope.declare_local_variable(name, kind) for name, kind in types.items())
    return operator.outputs


def _check_options(options: Any) -> None:
    """Raise if an option of skl2onnx asks for what it does not give for several columns of y."""
    for name in ("output_class_labels", "nocl"):
        if options.get(name):
            raise ValueError(
                f"{name} must be False after a fit to several columns of y, got True: read classes_ of the estimator"
            )


def _label_type(target: Target) -> Any:
    """Return the type of the labels of all columns of y."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    are_strings = {labels_of(part).dtype.kind == "U" for part in parts_of(target)}
    if len(are_strings) > 1:
        raise ValueError(
            "labels must be strings in all columns of y or in none to be one output of skl2onnx, got both: use to_onnx "
            "of the autoencoder, whose graphs have an output for each column, or make strings of all labels"
        )
    return StringTensorType if are_strings.pop() else Int64TensorType


def _set_shapes(operator: Any) -> None:
    """Set the types of the outputs."""
    from skl2onnx.common.data_types import FloatTensorType, SequenceType

    model, n = operator.raw_operator.model_, operator.inputs[0].get_first_dimension()
    several = model.target.n_columns > 1
    widths = {"codes": model.n_components, "value": model.target.n_columns, "probabilities": model.target.n_outputs}
    for output in operator.outputs:
        if output.raw_name == "label":
            output.type = _label_type(model.target)([n, model.target.n_columns] if several else [n])
        elif output.raw_name == "probabilities" and several:
            output.type = SequenceType(FloatTensorType())
        else:
            output.type = FloatTensorType([n, widths[output.raw_name]])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an autoencoder."""
    model = operator.raw_operator.model_
    if model.encoding.layout.frequencies or len(operator.inputs) > 1:
        raise ValueError(
            "autoencoders in a pipeline must be fitted on one table of numbers to be converted, got columns of "
            "categories, or several inputs: use to_onnx of the autoencoder, or declare one input of floats"
        )
    for output in operator.outputs:
        proto, table = onnx_model(model, METHOD_OF[output.raw_name]), scope.get_unique_variable_name("table")
        dtype = proto.graph.input[0].type.tensor_type.elem_type
        _add(container, scope, "Cast", [operator.inputs[0].full_name], table, to=dtype)
        _finish(scope, container, output, _inlined(proto, scope, container, table), model.target)


def _finish(scope: Any, container: Any, output: Any, results: list[str], target: Target) -> None:
    """Add the nodes from the results of a graph to an output."""
    from onnx import TensorProto

    if output.raw_name == "label":
        if labels_of(parts_of(target)[0]).dtype.kind != "U":
            results = [_added(container, scope, "Cast", [result], to=TensorProto.INT64) for result in results]
        _side_by_side(scope, container, output, results, [-1, 1] if target.n_columns > 1 else [-1])
    elif output.raw_name == "value":
        results = [_added(container, scope, "Cast", [result], to=TensorProto.FLOAT) for result in results]
        _side_by_side(scope, container, output, results, [-1, target.n_columns])
    else:
        kind = "SequenceConstruct" if len(results) > 1 else "Identity"
        _add(container, scope, kind, results, output.full_name)


def _side_by_side(scope: Any, container: Any, output: Any, results: list[str], shape: list[int]) -> None:
    """Add the nodes that give each result a shape and join their columns."""
    from onnx import TensorProto

    sizes = scope.get_unique_variable_name("shape")
    container.add_initializer(sizes, TensorProto.INT64, [len(shape)], shape)
    columns = [_added(container, scope, "Reshape", [result, sizes]) for result in results]
    _add(container, scope, "Concat", columns, output.full_name, axis=len(shape) - 1)


def _added(container: Any, scope: Any, kind: str, inputs: list[str], **attributes: Any) -> str:
    """Add a node, and return the name of its output."""
    name: str = scope.get_unique_variable_name(kind)
    _add(container, scope, kind, inputs, name, **attributes)
    return name


def _add(container: Any, scope: Any, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
    name = scope.get_unique_operator_name(kind)
    container.add_node(kind, inputs, output, op_version=OPSET, name=name, **attributes)


def _inlined(proto: Any, scope: Any, container: Any, table: str) -> list[str]:
    """Add the nodes of a graph that reads a table, and return the names of its outputs."""
    from onnx import TensorProto, helper

    names = {"": "", proto.graph.input[0].name: table}

    def named(name: str) -> str:
        if name not in names:
            names[name] = scope.get_unique_variable_name(name)
        return names[name]

    for constant in proto.graph.initializer:
        copy = TensorProto()
        copy.CopyFrom(constant)
        copy.name = named(constant.name)
        container.initializers.append(copy)
    for node in proto.graph.node:
        container.add_node(
            node.op_type,
            [named(name) for name in node.input],
            [named(name) for name in node.output],
            op_domain=node.domain,
            op_version=LABELS_OPSET if node.domain else OPSET,
            name=scope.get_unique_operator_name(node.op_type),
            **{attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
        )
    return [named(output.name) for output in proto.graph.output]
