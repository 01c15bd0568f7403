"""XGBoost: classifiers, regressors, rankers and boosters of trees.

The native copy is the JSON file that XGBoost itself reads and writes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.base import Conversion, InputSchema

_MISSING = "a360_missing"
_LABELS_OF_BOOSTERS = ("multi:softmax", "binary:hinge")


class XGBoostFlavor:
    """Stores what XGBoost trains with trees."""

    name = "xgboost"
    native_suffix: str | None = ".json"
    answers_missing = True
    packages = ("xgboost-cpu", "xgboost", "onnxmltools")

    def unwrap(self, model: Any) -> Any:
        """Return the fitted model; of a search object its best one."""
        from sklearn.exceptions import NotFittedError
        from xgboost import Booster, XGBModel

        if any(hasattr(model, name) for name in ("param_distributions", "param_grid", "best_estimator_")):
            if not hasattr(model, "best_estimator_"):
                raise RunError(
                    f"The {_class_name(model)} has no best estimator.",
                    "It was not fitted, or with refit=False.",
                    "Fit it with refit=True, or log the estimator you choose.",
                )
            return self.unwrap(model.best_estimator_)
        if not isinstance(model, Booster | XGBModel):
            raise RunError(
                f"A {_class_name(model)} cannot be stored by an experiment of the flavor xgboost.",
                "It is no XGBClassifier, XGBRegressor, XGBRanker or Booster.",
                "A pipeline that ends in one goes into an experiment of the flavor sklearn, any other model "
                "into one of its own flavor.",
            )
        try:
            booster = _booster(model)
        except NotFittedError as error:
            raise RunError(
                f"The {_class_name(model)} is not fitted.", str(error), "Call fit before logging it."
            ) from error
        if booster.num_features() == 0:
            raise RunError(
                "The Booster is not trained.",
                "It knows no features.",
                "Call xgboost.train before logging it.",
            )
        return model

    def width(self, model: Any) -> int | None:
        """Return the number of features of the booster."""
        return int(_booster(model).num_features())

    def predict(self, model: Any, rows: Any) -> tuple[Any, bool]:
        """Return predictions, and whether they are labels: classes of a classifier."""
        from sklearn.base import is_classifier
        from xgboost import Booster, DMatrix

        rows = _as_trained(model, rows)
        if isinstance(model, Booster):
            labels = _objective(model) in _LABELS_OF_BOOSTERS
            return model.predict(DMatrix(rows, feature_names=_names(model) or None)), labels
        return model.predict(rows), is_classifier(model)

    def probabilities(self, model: Any, rows: Any) -> Any | None:
        """Return predict_proba of a classifier."""
        if not hasattr(model, "predict_proba"):
            return None
        return model.predict_proba(_as_trained(model, rows))

    def made_rows(self, model: Any, schema: InputSchema) -> Any | None:
        """Return rows around the values at which the trees split."""
        from a360mdk.flavors.xgboost_graph import splits

        return _rows_around(splits(_booster(model)), int(_booster(model).num_features()))

    def conversions(self, model: Any, schema: InputSchema) -> Iterator[Conversion]:
        """Yield the graph with float32 input, in which XGBoost itself compares."""
        from a360mdk.flavors.xgboost_graph import graph_of

        names = _names(model)
        if not names and len(schema.names) == _booster(model).num_features():
            names = list(schema.names)
        yield Conversion("float32", graph_of(model, _booster(model), names))

    def save(self, model: Any, sink: Any) -> None:
        """Write the JSON file; the wrapper's own value for "missing" goes along."""
        booster = _booster(model)
        missing = float(getattr(model, "missing", float("nan")))
        if missing == missing:
            booster.set_attr(**{_MISSING: repr(missing)})
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "model.json"
                model.save_model(file)
                sink.write(file.read_bytes())
        finally:
            booster.set_attr(**{_MISSING: None})

    def load(self, path: Path) -> Any:
        """Load the JSON file as what was saved: a classifier, regressor, ranker, or a booster."""
        import json

        from xgboost import Booster, XGBClassifier, XGBRanker, XGBRegressor

        booster = Booster(model_file=bytearray(path.read_bytes()))
        meta = json.loads(booster.attr("scikit_learn") or "{}")
        kinds = {"classifier": XGBClassifier, "regressor": XGBRegressor, "ranker": XGBRanker}
        kind = kinds.get(meta.get("_estimator_type"))
        if kind is None:
            return booster
        missing = booster.attr(_MISSING)
        model = kind() if missing is None else kind(missing=float(missing))
        model.load_model(bytearray(path.read_bytes()))
        return model


def _booster(model: Any) -> Any:
    return model.get_booster() if hasattr(model, "get_booster") else model


def _objective(model: Any) -> str:
    from a360mdk.flavors.xgboost_graph import objective

    return objective(_booster(model))


def _names(model: Any) -> list[str]:
    """Names of the columns the model was trained on; empty when it was trained on an array."""
    return [str(name) for name in _booster(model).feature_names or []]


def _as_trained(model: Any, rows: Any) -> Any:
    """Rows with or without column names, as the model was trained."""
    names = _names(model)
    if names and not hasattr(rows, "columns"):
        import pandas

        return pandas.DataFrame(rows, columns=names)
    if not names and hasattr(rows, "columns"):
        return rows.to_numpy(dtype=float)
    return rows


def _rows_around(known: dict[int, list[float]], width: int) -> Any:
    import numpy

    random = numpy.random.default_rng(0)
    columns = []
    for position in range(width):
        values = numpy.array(known.get(position) or [-1.0, 0.0, 1.0])
        around = random.normal(size=60) * (values.std() or abs(values[0]) or 1.0)
        columns.append(values[random.integers(0, values.size, 60)] + around * random.integers(0, 2, 60))
    return numpy.column_stack(columns)


def _class_name(model: Any) -> str:
    return type(model).__name__


FLAVOR = XGBoostFlavor()
