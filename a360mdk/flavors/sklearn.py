"""scikit-learn: estimators, pipelines and search objects.

The native copy is a joblib file. It holds every fitted object a notebook can make, user-defined steps
included, and needs no package beyond scikit-learn; skops files would be safer to open but refuse exactly
those objects. The danger of a pickle is met otherwise: the service never opens it, and the kit opens it only
in the user's own kernel after its SHA-256 was found equal to the one recorded with the run.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.base import ROWS, Conversion, InputSchema
from a360mdk.flavors.sklearn_graph import (
    first_step,
    has_trees,
    parts,
    prefers_double,
    prepared,
    splits_columns,
    text_columns,
    uses_column_names,
)
from a360mdk.flavors.sklearn_rows import made_rows
from a360mdk.flavors.sklearn_steps import own_converters
from a360mdk.flavors.sklearn_trees import compare_in_double, faithful_trees
from a360mdk.signature import TEXT, TIME

FEATURE_NAMES_KEY = "a360.feature_names"
# Understood by every ONNX Runtime since 1.14, so a package may bring an older one.
OPSET = {"": 18, "ai.onnx.ml": 3}
INPUT = "X"
LOCALE = "C.UTF-8"


class SklearnFlavor:
    """Stores what follows scikit-learn's estimator interface and skl2onnx can convert."""

    name = "sklearn"
    native_suffix: str | None = ".joblib"
    answers_missing = True
    packages = ("scikit-learn", "skl2onnx")

    def unwrap(self, model: Any) -> Any:
        """Return the fitted estimator; of a search object its best one."""
        from sklearn.base import BaseEstimator
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        if not isinstance(model, BaseEstimator):
            raise RunError(
                f"A {_class_name(model)} cannot be stored by an experiment of the flavor sklearn.",
                "It is not a scikit-learn estimator.",
                "Log a fitted estimator or pipeline, or use an experiment of the model's own flavor.",
            )
        if (
            hasattr(model, "param_distributions")
            or hasattr(model, "param_grid")
            or hasattr(model, "best_estimator_")
        ):
            if not hasattr(model, "best_estimator_"):
                raise RunError(
                    f"The {_class_name(model)} has no best estimator.",
                    "It was not fitted, or with refit=False.",
                    "Fit it with refit=True, or log the estimator you choose.",
                )
            return self.unwrap(model.best_estimator_)
        try:
            check_is_fitted(model)
        except NotFittedError as error:
            raise RunError(
                f"The {_class_name(model)} is not fitted.", str(error), "Call fit before logging it."
            ) from error
        return model

    def width(self, model: Any) -> int | None:
        """Return n_features_in_."""
        width = getattr(model, "n_features_in_", None)
        return None if width is None else int(width)

    def predict(self, model: Any, rows: Any) -> tuple[Any, bool]:
        """Return predictions (or transformed rows of a transformer) and whether they are labels."""
        from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

        rows = _as_fitted(model, rows)
        if not hasattr(model, "predict"):
            values = model.transform(rows)
            return (values.toarray() if hasattr(values, "toarray") else values), False
        return model.predict(rows), is_classifier(model) or is_clusterer(model) or is_outlier_detector(model)

    def probabilities(self, model: Any, rows: Any) -> Any | None:
        """Return predict_proba, where a classifier has it."""
        if not callable(getattr(model, "predict_proba", None)):
            return None
        return model.predict_proba(_as_fitted(model, rows))

    def rows_to_compare(self, model: Any) -> int:
        """Few rows of trees alone, which ONNX repeats exactly; of all else many."""
        return ROWS if has_trees(model) else 10 * ROWS

    def made_rows(self, model: Any, schema: InputSchema) -> Any | None:
        """Return rows around the values that the model learnt."""
        width = getattr(model, "n_features_in_", None) or schema.width or len(schema.names)
        if not width:
            return None
        names = _names(model, schema) or [f"{INPUT}{position}" for position in range(width)]
        return made_rows(model, names, _texts(model, names, schema))

    def conversions(self, model: Any, schema: InputSchema) -> Iterator[Conversion]:
        """Yield the graph with float32 input and the one with float64 input.

        float32 comes first: it is what graphs of trees compare in, as those of scikit-learn do. Where steps
        come before the trees, or the trees are those of histogram gradient boosting, float64 does: rounding
        in front of a threshold moves single rows that no sample may hold. The second one is there for what
        the first cannot answer, such as linear models on large numbers, or where there is no first.
        """
        double_first = schema.exact or prefers_double(model)
        refused: RunError | None = None
        made = False
        for double in (double_first, not double_first):
            try:
                graph = self._convert(model, schema, double)
            except RunError as error:  # not every operator has a float64 form
                refused = error if refused is None or not double else refused
                continue
            yield Conversion("float64" if double else "float32", graph, instead=double_first and made)
            made = True
        if not made and refused is not None:
            raise refused

    def _convert(self, model: Any, schema: InputSchema, double: bool) -> bytes:
        initial_types = _initial_types(model, schema, double)
        subject = prepared(model, double=double)
        try:
            with faithful_trees(subject) as thresholds:
                graph = _graph(subject, initial_types)
        except Exception as error:  # skl2onnx raises a class of its own per reason
            raise _not_convertible(model, error) from error
        if double:
            compare_in_double(graph, thresholds)
        names = _names(model, schema)
        _name_inputs(graph.graph, [name for name, _ in initial_types])
        _drop_unused_inputs(graph.graph)
        if names:
            entry = graph.metadata_props.add()
            entry.key, entry.value = FEATURE_NAMES_KEY, json.dumps(names)
        serialised: bytes = graph.SerializeToString()
        return serialised

    def save(self, model: Any, sink: Any) -> None:
        """Write the joblib file."""
        import joblib

        try:
            joblib.dump(model, sink)
        except Exception as error:  # pickling runs code of every object inside
            raise RunError(
                f"The native copy of the {_class_name(model)} could not be written.",
                f"{type(error).__name__}: {error}",
                "Functions inside it must be importable: define them in a module, not in a cell or a lambda.",
            ) from error

    def load(self, path: Path) -> Any:
        """Load the joblib file: notebook only, checksum verified by the caller."""
        import joblib

        return joblib.load(path)


def _as_fitted(model: Any, rows: Any) -> Any:
    """Rows with or without column names, as the model was fitted."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None and not hasattr(rows, "columns"):
        import pandas

        return pandas.DataFrame(rows, columns=list(names))
    return rows.to_numpy() if names is None and hasattr(rows, "columns") else rows


def _names(model: Any, schema: InputSchema) -> list[str]:
    """Feature names in the order of the model's columns; empty when unknown."""
    own = getattr(model, "feature_names_in_", None)
    if own is not None:
        return [str(name) for name in own]
    width = getattr(model, "n_features_in_", None)
    return list(schema.names) if width == len(schema.names) else []


def _initial_types(model: Any, schema: InputSchema, double: bool) -> list[tuple[str, Any]]:
    """One tensor for a table of numbers or of texts; one input per column for mixed and named columns."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if double else FloatTensorType
    if hasattr(first_step(model), "vocabulary_"):
        return [(INPUT, StringTensorType([None, 1]))]  # words are counted in one text a row
    width = getattr(model, "n_features_in_", None) or schema.width or len(schema.names)
    if not width:
        raise RunError(
            f"The number of inputs of the {_class_name(model)} is unknown.",
            "Neither the model nor the experiment says how many features there are.",
            "Give the experiment train_features, or the preprocessor its preprocessor_shape.",
        )
    names = _names(model, schema) or [f"{INPUT}{position}" for position in range(width)]
    texts = _texts(model, names, schema)
    if len(texts) == width and not uses_column_names(model):
        return [(INPUT, StringTensorType([None, width]))]
    if texts or uses_column_names(model):
        return [(name, (StringTensorType if name in texts else number)([None, 1])) for name in names]
    return [(INPUT, number([None, width]))]


def _texts(model: Any, names: list[str], schema: InputSchema) -> set[str]:
    """Columns that hold text: those that an encoder has seen text in.

    The experiment's types alone do not tell: its features may be those before encoding. They count for
    columns that a ColumnTransformer leaves out, which are inputs of the conversion all the same.
    """
    seen = text_columns(model, names)
    if splits_columns(model):
        seen |= {name for name in names if schema.types.get(name) in (TEXT, TIME)}
    return seen


def _graph(model: Any, initial_types: list[tuple[str, Any]]) -> Any:
    from skl2onnx import convert_sklearn
    from sklearn.base import is_classifier

    shapes, converters = own_converters()
    convert = partial(
        convert_sklearn,
        model,
        initial_types=initial_types,
        target_opset=OPSET,
        custom_conversion_functions=converters,
        custom_shape_calculators=shapes,
    )
    options: dict[int, dict[str, Any]] = {
        id(part): _words(part)
        for part in parts(model)
        if hasattr(part, "vocabulary_") and hasattr(part, "lowercase")
    }
    if not is_classifier(model):
        return convert(options=options)
    try:
        # zipmap would turn probabilities into a list of dicts per row, which only slows a served model down
        return convert(options=options | {id(model): {"zipmap": False}})
    except NameError:  # what skl2onnx raises for a classifier without that option
        # Of a pipeline it would give the last step that option by itself, unless that has some.
        return convert(options={id(part): {} for part in parts(model)} | options)


def _words(vectorizer: Any) -> dict[str, Any]:
    """How texts are split into words: as scikit-learn does, in every alphabet.

    Texts are put into lower case by the rules of a locale; the usual one is missing in small images.
    """
    options: dict[str, Any] = {"locale": LOCALE}
    if getattr(vectorizer, "token_pattern", None) == r"(?u)\b\w\w+\b" and vectorizer.analyzer == "word":
        options["tokenexp"] = r"[\p{L}\p{N}_][\p{L}\p{N}_]+"
    return options


def _name_inputs(graph: Any, names: list[str]) -> None:
    """Give inputs the names of their columns: skl2onnx puts underscores where names hold spaces."""
    given = {
        graph_input.name: name
        for graph_input, name in zip(graph.input, names, strict=True)
        if graph_input.name != name
    }
    for graph_input in graph.input:
        graph_input.name = given.get(graph_input.name, graph_input.name)
    for node in graph.node if given else ():
        node.input[:] = [given.get(name, name) for name in node.input]


def _drop_unused_inputs(graph: Any) -> None:
    """Columns that no step takes need not be fed; scikit-learn does not ask for them either."""
    used = {name for node in graph.node for name in node.input}
    kept = [graph_input for graph_input in graph.input if graph_input.name in used]
    del graph.input[:]
    graph.input.extend(kept)


def _not_convertible(model: Any, error: Exception) -> RunError:
    if isinstance(error, RunError):
        return error
    found = re.search(r"<class '([\w.]+)'>", str(error))
    culprit = found.group(1).rsplit(".", 1)[-1] if found else _class_name(model)
    within = "" if culprit == _class_name(model) else f" (inside the {_class_name(model)})"
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return RunError(
        f"No converter to ONNX knows {culprit}{within}; the run was not logged.",
        first_line[:300],
        "Use an estimator that skl2onnx supports, or replace this step by one that it does.",
    )


def _class_name(model: Any) -> str:
    return type(model).__name__


FLAVOR = SklearnFlavor()
