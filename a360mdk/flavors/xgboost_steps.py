"""XGBoost's estimators as steps of scikit-learn pipelines."""

from functools import lru_cache
from typing import Any

from a360mdk.flavors.xgboost_graph import INPUT, graph_of


@lru_cache
def register() -> None:
    """Make XGBoost's estimators known to skl2onnx."""
    import xgboost
    from skl2onnx import update_registered_converter

    options = {
        "zipmap": [True, False, "columns"],
        "nocl": [True, False],
        "output_class_labels": [True, False],
    }
    for kind in (xgboost.XGBClassifier, xgboost.XGBRFClassifier):
        update_registered_converter(
            kind, f"A360{kind.__name__}", _classifier_shape, _convert, options=options, overwrite=True
        )
    for kind in (xgboost.XGBRegressor, xgboost.XGBRFRegressor, xgboost.XGBRanker):
        update_registered_converter(kind, f"A360{kind.__name__}", _regressor_shape, _convert, overwrite=True)


def _classifier_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    rows = operator.inputs[0].type.shape[0]
    operator.outputs[0].type = Int64TensorType([rows])
    operator.outputs[1].type = FloatTensorType([rows, None])


def _regressor_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    operator.outputs[0].type = FloatTensorType([operator.inputs[0].type.shape[0], None])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Put the model's own graph behind what comes before it."""
    from onnx import TensorProto, helper, load_model_from_string, numpy_helper

    model = operator.raw_operator
    graph = load_model_from_string(graph_of(model, model.get_booster(), [])).graph
    inputs = []
    for variable in operator.inputs:
        single = scope.get_unique_variable_name("single")
        container.add_node("Cast", [variable.full_name], [single], to=TensorProto.FLOAT)
        inputs.append(single)
    names = {INPUT: inputs[0]}
    if len(inputs) > 1:
        names[INPUT] = scope.get_unique_variable_name("rows")
        container.add_node("Concat", inputs, [names[INPUT]], axis=1)
    for given, wanted in zip(graph.output, operator.outputs, strict=True):
        names[given.name] = wanted.full_name
    for constant in graph.initializer:
        names[constant.name] = scope.get_unique_variable_name(constant.name)
        values = numpy_helper.to_array(constant)
        container.add_initializer(
            names[constant.name], constant.data_type, list(values.shape), values.ravel().tolist()
        )
    for node in graph.node:
        for output in node.output:
            names.setdefault(output, scope.get_unique_variable_name(output))
        container.add_node(
            node.op_type,
            [names[name] for name in node.input],
            [names[name] for name in node.output],
            op_domain=node.domain,
            name=scope.get_unique_operator_name(node.op_type),
            **{a.name: helper.get_attribute_value(a) for a in node.attribute},
        )
