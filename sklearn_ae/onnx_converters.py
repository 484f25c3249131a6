"""Converters of autoencoders for skl2onnx, which exports whole pipelines."""

from typing import Any

from sklearn.pipeline import Pipeline

from sklearn_ae.estimators.adversarial import AdversarialAutoencoder
from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.estimators.regularized import RegularizedAutoencoder
from sklearn_ae.estimators.variational import VariationalAutoencoder
from sklearn_ae.shipping.graph import LABELS_OPSET, OPSET, onnx_model
from sklearn_ae.shipping.program import check_one_output

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
    from skl2onnx.common.data_types import FloatTensorType

    target = model.model_.target
    default = "predict" if target.n_outputs else "transform"
    method = scope.get_options(model, {"method": default, "zipmap": True}, fail=False)["method"]
    if method == "predict":
        check_one_output(target)
    if method == "predict" and target.classes is not None:
        return _parse_sklearn_classifier(scope, model, inputs, custom_parsers=custom_parsers)
    operator = scope.declare_local_operator(f"SklearnAe{type(model).__name__}", model)
    operator.inputs = inputs
    name = "value" if method == "predict" else "codes"
    operator.outputs.append(scope.declare_local_variable(name, FloatTensorType()))
    return operator.outputs


def _set_shapes(operator: Any) -> None:
    """Set the types of the outputs."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    model, n = operator.raw_operator.model_, operator.inputs[0].get_first_dimension()
    for output in operator.outputs:
        if output.raw_name == "label":
            are_strings = model.target.classes.dtype.kind in "OU"
            output.type = StringTensorType([n]) if are_strings else Int64TensorType([n])
        else:
            width = {"codes": model.n_components, "value": 1}.get(output.raw_name, model.target.n_outputs)
            output.type = FloatTensorType([n, width])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an autoencoder."""
    from onnx import TensorProto

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
        result = _inlined(proto, scope, container, table)
        if output.raw_name == "label" and model.target.classes.dtype.kind not in "OU":
            _add(container, scope, "Cast", [result], output.full_name, to=TensorProto.INT64)
        elif output.raw_name == "value":
            shape = scope.get_unique_variable_name("shape")
            container.add_initializer(shape, TensorProto.INT64, [2], [-1, 1])
            single = scope.get_unique_variable_name("single")
            _add(container, scope, "Cast", [result], single, to=TensorProto.FLOAT)
            _add(container, scope, "Reshape", [single, shape], output.full_name)
        else:
            _add(container, scope, "Identity", [result], output.full_name)


def _add(container: Any, scope: Any, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
    name = scope.get_unique_operator_name(kind)
    container.add_node(kind, inputs, output, op_version=OPSET, name=name, **attributes)


def _inlined(proto: Any, scope: Any, container: Any, table: str) -> str:
    """Add the nodes of a graph that reads a table, and return the name of its output."""
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
    return named(proto.graph.output[0].name)
