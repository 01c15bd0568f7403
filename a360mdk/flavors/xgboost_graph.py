"""XGBoost's trees as an ONNX graph.

onnxmltools translates the trees. What comes before and after them is written here: its own converters misread
the base score of XGBoost 3, know no column names but f0, f1, ..., no value for "missing", and leave out what
several objectives do to the sum of the trees.
"""

import json
import math
from typing import Any

from a360mdk.exceptions import RunError

FEATURE_NAMES_KEY = "a360.feature_names"
OPSET = {"": 18, "ai.onnx.ml": 3}
INPUT = "X"

_IDENTITY = (
    *("reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror"),
    *("reg:quantileerror", "reg:linear", "binary:logitraw", "rank:pairwise", "rank:ndcg", "rank:map"),
)
_LINKS = {
    **dict.fromkeys(_IDENTITY, "Identity"),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox"), "Exp"),
    **dict.fromkeys(("binary:logistic", "reg:logistic"), "Sigmoid"),
    "binary:hinge": "Hinge",
    "multi:softprob": "Softmax",
    "multi:softmax": "Softmax",
}


def graph_of(model: Any, booster: Any, names: list[str]) -> bytes:
    """Return a model as serialised ONNX.

    Args:
        model: a booster, or scikit-learn's interface to one.
        booster: its booster.
        names: of the columns, recorded in the graph.

    Raises:
        RunError: it holds something other than trees on numbers, or an unknown objective.
    """
    from onnx import TensorProto, helper

    _require_trees(model, booster)
    link = _LINKS.get(objective(booster))
    if link is None:
        raise _refused(
            f"the objective {objective(booster)}",
            "What it does to the sum of the trees is not known here.",
            f"Train with one of {', '.join(sorted(_LINKS))}.",
        )
    trees = _used(model, booster)
    nodes = _Nodes()
    rows = nodes.rows(getattr(model, "missing", math.nan))
    attributes, targets = _tree_attributes(trees)
    margins = nodes.add(
        "TreeEnsembleRegressor", [rows], domain="ai.onnx.ml", n_targets=targets, post_transform="NONE",
        base_values=_base_margins(trees, targets), **attributes,
    )  # fmt: skip
    if hasattr(model, "predict_proba"):
        outputs = nodes.classes(margins, link, targets, multilabel=model.n_classes_ == 2 and targets > 1)
    else:
        outputs = [nodes.answer(margins, link, labels=objective(booster) == "multi:softmax")]
    graph = helper.make_graph(
        nodes.made,
        "xgboost",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, booster.num_features()])],
        outputs,
        nodes.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSET.items()]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="a360mdk")
    if names:
        entry = made.metadata_props.add()
        entry.key, entry.value = FEATURE_NAMES_KEY, json.dumps(names)
    serialised: bytes = made.SerializeToString()
    return serialised


def objective(booster: Any) -> str:
    """Return the name of a booster's objective."""
    return str(_learner(booster)["objective"]["name"])


def splits(booster: Any) -> dict[int, list[float]]:
    """Return the values at which the trees split, by position of the column."""
    found: dict[int, list[float]] = {}
    for tree in _dumped(booster):
        for node in _inner(tree):
            found.setdefault(int(node["split"][1:]), []).append(float(node["split_condition"]))
    return found


def _require_trees(model: Any, booster: Any) -> None:
    learner = _learner(booster)
    kind = learner["gradient_booster"]["name"]
    if kind != "gbtree":
        raise _refused(
            f"the booster {kind}",
            "Only trees that all count the same can be converted: booster=gbtree.",
            "Train with booster='gbtree', or the linear model with scikit-learn.",
        )
    if "c" in (booster.feature_types or []):
        raise _refused(
            "categorical features",
            "XGBoost keeps the categories of the data frame, ONNX takes numbers.",
            "Encode the categories first (OrdinalEncoder, OneHotEncoder) and train without "
            "enable_categorical.",
        )
    if getattr(model, "multi_strategy", None) == "multi_output_tree":
        raise _refused(
            "multi_strategy=multi_output_tree",
            "A leaf of ONNX trees holds one value.",
            "Train with multi_strategy='one_output_per_tree'.",
        )


def _refused(culprit: str, why: str, hint: str) -> RunError:
    return RunError(f"No converter to ONNX knows {culprit} of XGBoost; the run was not logged.", why, hint)


def _learner(booster: Any) -> Any:
    return json.loads(booster.save_config())["learner"]


def _used(model: Any, booster: Any) -> Any:
    """The trees that predict: those up to the best round where training stopped early.

    A booster by itself predicts with all of them. Names go, so that splits name columns by number.
    """
    used = booster.copy()
    if hasattr(model, "get_booster") and booster.attr("best_iteration") is not None:
        used = booster[: int(booster.attr("best_iteration")) + 1]
    used.feature_names = used.feature_types = None
    return used


def _dumped(booster: Any) -> list[Any]:
    plain = booster.copy()
    plain.feature_names = plain.feature_types = None
    return [json.loads(tree) for tree in plain.get_dump(dump_format="json")]


def _inner(tree: Any) -> "list[Any]":
    found, pending = [], [tree]
    while pending:
        node = pending.pop()
        if "children" in node:
            found.append(node)
            pending.extend(node["children"])
    return found


def _tree_attributes(booster: Any) -> tuple[dict[str, Any], int]:
    """Attributes of the ensemble, and how many sums it makes: one per class or target."""
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import XGBConverter

    trees = _dumped(booster)
    for tree in trees:
        for node in _inner(tree):
            node["decision_type"] = "BRANCH_LT"
    names = (
        *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values"),
        *("nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true"),
        *("target_treeids", "target_nodeids", "target_ids", "target_weights"),
    )
    attributes: dict[str, Any] = {name: [] for name in names}
    XGBConverter.fill_tree_attributes(trees, attributes, [1.0] * len(trees), False)
    of_tree = _targets(booster)
    attributes["target_ids"] = [of_tree[tree] for tree in attributes["target_treeids"]]
    parameters = _learner(booster)["learner_model_param"]
    return attributes, max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)


def _targets(booster: Any) -> list[int]:
    """To which class or target each tree counts."""
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    return [int(target) for target in model["tree_info"]]


def _base_margins(booster: Any, targets: int) -> list[float]:
    """What every sum starts from: a row's margins less its leaves.

    Versions of XGBoost write the base score before or after the link, once or once per class; the difference
    is the same in all of them.
    """
    import numpy
    from xgboost import DMatrix

    row = DMatrix(numpy.full((1, booster.num_features()), numpy.nan))
    margins = booster.predict(row, output_margin=True).astype(float).reshape(targets)
    for tree, target in zip(_dumped(booster), _targets(booster), strict=True):
        node = tree
        while "children" in node:
            node = next(child for child in node["children"] if child["nodeid"] == node["missing"])
        margins[target] -= node["leaf"]
    return [float(margin) for margin in margins]


class _Nodes:
    """Nodes of a graph under construction; each output has a name of its own."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.constants: list[Any] = []

    def add(
        self, kind: str, inputs: list[str], name: str | None = None, domain: str = "", **attributes: Any
    ) -> str:
        from onnx import helper

        output = name or f"{kind.lower()}_{len(self.made)}"
        self.made.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def constant(self, value: Any, dtype: str) -> str:
        import numpy
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.array(value, dtype=dtype), name))
        return name

    def rows(self, missing: float) -> str:
        """The rows, with the model's own value for "missing" turned into the one of trees."""
        if math.isnan(missing):
            return INPUT
        absent = self.add("Equal", [INPUT, self.constant(missing, "float32")])
        return self.add("Where", [absent, self.constant(math.nan, "float32"), INPUT])

    def linked(self, margins: str, link: str, name: str | None = None) -> str:
        """What the objective makes of the sums."""
        if link == "Softmax":
            return self.add("Softmax", [margins], name, axis=1)
        if link == "Hinge":
            above = self.add("Greater", [margins, self.constant(0.0, "float32")])
            return self.add("Cast", [above], name, to=1)
        return self.add(link, [margins], name)

    def answer(self, margins: str, link: str, labels: bool) -> Any:
        """The output of a regressor, ranker or booster."""
        from onnx import TensorProto, helper

        if labels:
            best = self.add("ArgMax", [margins], axis=1, keepdims=0)
            return helper.make_tensor_value_info(
                self.add("Cast", [best], "label", to=TensorProto.INT64), TensorProto.INT64, [None]
            )
        return helper.make_tensor_value_info(
            self.linked(margins, link, "variable"), TensorProto.FLOAT, [None, None]
        )

    def classes(self, margins: str, link: str, targets: int, multilabel: bool) -> list[Any]:
        """The outputs of a classifier: labels and probabilities."""
        from onnx import TensorProto, helper

        shape: list[int | None] = [None]
        if targets > 1 and not multilabel:
            probabilities = self.linked(margins, link, "probabilities")
            label = self.add("ArgMax", [probabilities], "label", axis=1, keepdims=0)
        else:
            odds = self.linked(margins, link, "probabilities" if multilabel else None)
            above = self.add("Greater", [odds, self.constant(0.5, "float32")])
            flags = self.add("Cast", [above], "label" if multilabel else None, to=TensorProto.INT64)
            if multilabel:
                label, probabilities, shape = flags, odds, [None, targets]
            else:
                label = self.add("Reshape", [flags, self.constant([-1], "int64")], "label")
                others = self.add("Sub", [self.constant(1.0, "float32"), odds])
                probabilities = self.add("Concat", [others, odds], "probabilities", axis=1)
        return [
            helper.make_tensor_value_info(label, TensorProto.INT64, shape),
            helper.make_tensor_value_info(probabilities, TensorProto.FLOAT, [None, None]),
        ]
