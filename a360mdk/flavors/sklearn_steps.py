"""Imputers and encoders as ONNX, where skl2onnx writes them otherwise than scikit-learn has them.

skl2onnx 1.20 leaves out the indicator of SimpleImputer and its own values for "missing", knows neither
missing texts nor float64 there, takes categories that are numbers for whole ones, refuses rows with unknown
categories where rare ones are put together, rounds what an OrdinalEncoder stands beside, and divides rows of
noughts by their length.

Missing texts arrive as one word (see ``a360runtime.inputs``), whatever they were.
"""

import sys
from typing import Any

import numpy

MISSING_TEXT = "nan"
_INT64, _FLOAT, _DOUBLE, _BOOL = 7, 1, 11, 9


def own_converters() -> tuple[dict[type, Any], dict[type, Any]]:
    """Return shape calculators and converters by class, for ``skl2onnx.convert_sklearn``."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import Normalizer, OneHotEncoder, OrdinalEncoder

    shapes: dict[type, Any] = {
        SimpleImputer: _imputed_shape,
        OneHotEncoder: _one_hot_shape,
        OrdinalEncoder: _ordinal_shape,
        Normalizer: _normalized_shape,
    }
    converters: dict[type, Any] = {
        SimpleImputer: _imputer,
        OneHotEncoder: _one_hot,
        OrdinalEncoder: _ordinal,
        Normalizer: _normalizer,
    }
    if "xgboost" in sys.modules:  # a pipeline can end in one of its models only then
        from a360mdk.flavors.xgboost_steps import register

        register()
    return shapes, converters


class _Writer:
    """Adds nodes to the graph under conversion.

    Args:
        scope, operator, container: as skl2onnx hands them to a converter.
    """

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

        self.scope, self.operator, self.container = scope, operator, container
        kinds = {type(variable.type) for variable in operator.inputs}
        self.text = kinds == {StringTensorType}
        if StringTensorType in kinds and not self.text:
            raise RuntimeError(f"{type(operator.raw_operator).__name__} takes texts or numbers, not both.")
        self.double = DoubleTensorType in kinds
        self.number = _DOUBLE if self.double else _FLOAT
        self.dtype: Any = numpy.float64 if self.double else numpy.float32

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = output or self.scope.get_unique_variable_name(kind.lower())
        self.container.add_node(
            kind, inputs, [name], name=self.scope.get_unique_operator_name(kind), **attributes
        )
        return name

    def constant(self, values: Any, kind: int) -> str:
        """Add a constant; return its name."""
        name = self.scope.get_unique_variable_name("constant")
        array = numpy.asarray(values)
        self.container.add_initializer(name, kind, list(array.shape), array.ravel().tolist())
        return str(name)

    def rows(self) -> str:
        """All inputs side by side, of one type."""
        names = [variable.full_name for variable in self.operator.inputs]
        if not self.text:
            names = [self.node("Cast", [name], to=self.number) for name in names]
        return names[0] if len(names) == 1 else self.node("Concat", names, axis=1)

    def column(self, rows: str, positions: Any) -> str:
        """Some of the columns, still as a table."""
        return self.node("Gather", [rows, self.constant(positions, _INT64)], axis=1)

    def beside(self, columns: list[str], kind: int) -> None:
        """The output of the whole: columns side by side, of one type."""
        joined = columns[0] if len(columns) == 1 else self.node("Concat", columns, axis=1)
        output = self.operator.outputs[0].full_name
        if kind == 0:
            self.node("Identity", [joined], output)
        else:
            self.node("Cast", [joined], output, to=kind)

    def known(self, column: str, categories: Any, codes: Any, unknown: int = -1) -> str:
        """The code of each value of a column (rows, 1) as a whole number; of unknown values ``unknown``."""
        if self.text:
            codes_by_word = {_word(value): int(code) for value, code in zip(categories, codes, strict=True)}
            return self.node(
                "LabelEncoder", [column], op_domain="ai.onnx.ml", op_version=2,
                keys_strings=list(codes_by_word), values_int64s=list(codes_by_word.values()),
                default_int64=unknown,
            )  # fmt: skip
        numbers = numpy.asarray(categories, dtype=self.dtype)
        gap = numpy.isnan(numpy.asarray(categories, dtype=float))
        equal = self.node("Equal", [column, self.constant(numpy.where(gap, 0, numbers)[None], self.number)])
        found = self.node("Cast", [equal], to=_FLOAT)
        found = self.node("Mul", [found, self.constant((~gap)[None].astype(float), _FLOAT)])
        if gap.any():
            absent = self.node("Cast", [self.node("IsNaN", [column])], to=_FLOAT)
            found = self.node(
                "Add", [found, self.node("Mul", [absent, self.constant(gap[None].astype(float), _FLOAT)])]
            )
        weights = self.constant((numpy.asarray(codes, dtype=float) - unknown)[:, None], _FLOAT)
        code = self.node("MatMul", [found, weights])
        return self.node("Add", [self.node("Cast", [code], to=_INT64), self.constant([[unknown]], _INT64)])

    def flags(self, codes: str, count: int, lenient: bool) -> str:
        """One column per code; an unknown one gives noughts, or is refused where it is not lenient."""
        table = self.node(
            "OneHotEncoder",
            [codes],
            op_domain="ai.onnx.ml",
            cats_int64s=list(range(count)),
            zeros=int(lenient),
        )
        return self.node("Reshape", [table, self.constant([-1, count], _INT64)])


def _word(value: Any) -> str:
    missing = value is None or type(value).__name__ == "NAType" or value != value
    return MISSING_TEXT if missing else str(value)


def _is_gap(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or value != value


# SimpleImputer


def _kept(imputer: Any) -> list[int]:
    """Columns that are not dropped for having been empty in training."""
    if imputer.keep_empty_features or imputer.strategy == "constant":
        return list(range(len(imputer.statistics_)))
    return [position for position, value in enumerate(imputer.statistics_) if not _is_gap(value)]


def _imputed_shape(operator: Any) -> None:
    imputer = operator.raw_operator
    marks = len(imputer.indicator_.features_) if imputer.add_indicator else 0
    kind = type(operator.inputs[0].type)
    if kind.__name__ not in ("StringTensorType", "DoubleTensorType"):
        from skl2onnx.common.data_types import FloatTensorType

        kind = FloatTensorType
    operator.outputs[0].type = kind([operator.inputs[0].type.shape[0], len(_kept(imputer)) + marks])


def _imputer(scope: Any, operator: Any, container: Any) -> None:
    imputer, write = operator.raw_operator, _Writer(scope, operator, container)
    rows = write.rows()
    if write.text:
        _impute_texts(imputer, write, rows)
        return
    if _is_gap(imputer.missing_values):
        absent = write.node("IsNaN", [rows])
    else:
        absent = write.node("Equal", [rows, write.constant(float(imputer.missing_values), write.number)])
    values = numpy.array([0 if _is_gap(value) else value for value in imputer.statistics_], dtype=float)
    filled = write.node("Where", [absent, write.constant(values[None], write.number), rows])
    kept = _kept(imputer)
    if len(kept) < len(values):
        filled = write.column(filled, kept)
    columns = [filled]
    if imputer.add_indicator:
        marks = write.column(write.node("Cast", [absent], to=write.number), imputer.indicator_.features_)
        columns.append(marks)
    write.beside(columns, write.number)


def _impute_texts(imputer: Any, write: _Writer, rows: str) -> None:
    if imputer.add_indicator:
        raise RuntimeError("SimpleImputer with add_indicator is converted for numbers only.")
    columns = []
    for position in _kept(imputer):
        column = write.column(rows, [position])
        absent = write.node(
            "LabelEncoder", [column], op_domain="ai.onnx.ml", op_version=2,
            keys_strings=[_word(imputer.missing_values)], values_int64s=[1], default_int64=0,
        )  # fmt: skip
        value = _text_constant(write, str(imputer.statistics_[position]))
        columns.append(write.node("Where", [write.node("Cast", [absent], to=_BOOL), value, column]))
    write.beside(columns, 0)


def _text_constant(write: _Writer, text: str) -> str:
    """A text to broadcast; initializers of skl2onnx hold no texts, so a mapping makes it of a number."""
    nought = write.constant([[0]], _INT64)
    return write.node(
        "LabelEncoder", [nought], op_domain="ai.onnx.ml", op_version=2,
        keys_int64s=[0], values_strings=[text], default_string=text,
    )  # fmt: skip


# Encoders


def _groups(encoder: Any, position: int) -> tuple[Any, int]:
    """Code of each category of a column, rare ones together, and the number of codes."""
    count = len(encoder.categories_[position])
    mapping = None
    if getattr(encoder, "_infrequent_enabled", False):
        mapping = encoder._default_to_infrequent_mappings[position]
    codes = numpy.arange(count) if mapping is None else numpy.asarray(mapping)
    return codes, int(codes.max(initial=-1)) + 1


def _rare(encoder: Any, position: int) -> int:
    """Code of the rare categories; -1 where none is."""
    if not getattr(encoder, "_infrequent_enabled", False):
        return -1
    mapping = encoder._default_to_infrequent_mappings[position]
    return -1 if mapping is None else int(max(mapping))


def _width(encoder: Any) -> list[list[int]]:
    """Codes that become columns, by input column."""
    dropped = encoder._drop_idx_after_grouping
    kept = []
    for position in range(len(encoder.categories_)):
        _, count = _groups(encoder, position)
        without = None if dropped is None else dropped[position]
        kept.append([code for code in range(count) if code != without])
    return kept


def _one_hot_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    width = sum(map(len, _width(operator.raw_operator)))
    operator.outputs[0].type = FloatTensorType([operator.inputs[0].type.shape[0], width])


def _one_hot(scope: Any, operator: Any, container: Any) -> None:
    encoder, write = operator.raw_operator, _Writer(scope, operator, container)
    rows = write.rows()
    columns = []
    for position, kept in enumerate(_width(encoder)):
        codes, count = _groups(encoder, position)
        if not kept:
            continue
        lenient = encoder.handle_unknown != "error"
        unknown = (
            _rare(encoder, position) if encoder.handle_unknown in ("infrequent_if_exist", "warn") else -1
        )
        known = write.known(write.column(rows, [position]), encoder.categories_[position], codes, unknown)
        table = write.flags(known, count, lenient)
        columns.append(table if len(kept) == count else write.column(table, kept))
    write.beside(columns, _FLOAT)


def _ordinal_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    double = any(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
    kind = DoubleTensorType if double else FloatTensorType
    width = len(operator.raw_operator.categories_)
    operator.outputs[0].type = kind([operator.inputs[0].type.shape[0], width])


def _ordinal(scope: Any, operator: Any, container: Any) -> None:
    encoder, write = operator.raw_operator, _Writer(scope, operator, container)
    rows = write.rows()
    columns = []
    for position, categories in enumerate(encoder.categories_):
        codes, count = _groups(encoder, position)
        values = numpy.arange(count, dtype=float)
        gaps = [number for number, value in enumerate(categories) if _is_gap(value)]
        if gaps:  # missing values have a code of their own, behind the others
            values = numpy.append(values, encoder.encoded_missing_value)
            codes = codes.copy()
            codes[gaps] = len(values) - 1
        known = write.known(write.column(rows, [position]), categories, codes)
        if encoder.handle_unknown == "error":
            write_values, shift = values, 0
            known = write.node("ArgMax", [write.flags(known, len(values), lenient=False)], axis=1, keepdims=1)
        else:
            write_values, shift = numpy.append([encoder.unknown_value], values), 1
        place = write.node("Add", [known, write.constant([[shift]], _INT64)])
        flat = write.node("Reshape", [place, write.constant([-1], _INT64)])
        table = write.constant(numpy.asarray(write_values, dtype=float), write.number)
        found = write.node("Gather", [table, flat], axis=0)
        columns.append(write.node("Reshape", [found, write.constant([-1, 1], _INT64)]))
    write.beside(columns, write.number)


# Normalizer


def _normalized_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    double = any(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
    width = sum(variable.type.shape[1] for variable in operator.inputs)
    kind = DoubleTensorType if double else FloatTensorType
    operator.outputs[0].type = kind([operator.inputs[0].type.shape[0], width])


def _normalizer(scope: Any, operator: Any, container: Any) -> None:
    write = _Writer(scope, operator, container)
    rows, norm = write.rows(), operator.raw_operator.norm
    axes = write.constant([1], _INT64)
    sizes = write.node("Mul", [rows, rows]) if norm == "l2" else write.node("Abs", [rows])
    length = write.node("ReduceMax" if norm == "max" else "ReduceSum", [sizes, axes], keepdims=1)
    if norm == "l2":
        length = write.node("Sqrt", [length])
    nothing = write.node("Equal", [length, write.constant(0.0, write.number)])
    divisor = write.node("Where", [nothing, write.constant(1.0, write.number), length])
    write.beside([write.node("Div", [rows, divisor])], write.number)
