"""Does the ONNX graph answer what the model answers? Asked at the close of a run, on training rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.base import Flavor, InputSchema
from a360mdk.signature import as_array

ROWS = 100
MAX_LABELS_OFF = 0.01
RELATIVE = 1e-3
_SHOWN = 10


@dataclass(frozen=True)
class Parity:
    """The outcome of one comparison.

    Attributes:
        rows: number of rows compared.
        off: positions of the training rows whose answers differ.
        max_difference: largest absolute difference of values; None for labels.
        label_agreement: share of equal labels, 0 to 1; None for values.
        passed: close enough to be stored.
        example: the first difference, in words.
    """

    rows: int
    off: list[int] = field(default_factory=list)
    max_difference: float | None = None
    label_agreement: float | None = None
    passed: bool = True
    example: str = ""

    def metadata(self) -> dict[str, Any]:
        """What is stored with the run."""
        found = {
            "onnx_rows_compared": self.rows,
            "onnx_max_difference": self.max_difference,
            "onnx_label_agreement": self.label_agreement,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Sample:
    """Rows of the training data and what the model answers to them.

    Attributes:
        rows: as the model takes them; None when there are none to compare on.
        positions: where they are in the training data.
        answers: the model's own.
        labels: whether the answers are labels, else values.
    """

    rows: Any = None
    positions: Sequence[int] = ()
    answers: Any = None
    labels: bool = False


def sample(train_features: Any) -> Sample:
    """Pick up to 100 rows, spread evenly over the training data."""
    import numpy

    total = _length(train_features)
    if total == 0:
        return Sample()
    positions = sorted({int(position) for position in numpy.linspace(0, total - 1, min(ROWS, total))})
    if isinstance(train_features, Mapping):
        return Sample(
            {name: as_array(values)[positions] for name, values in train_features.items()}, positions
        )
    if hasattr(train_features, "iloc"):
        return Sample(train_features.iloc[positions], positions)
    return Sample(as_array(train_features)[positions], positions)


def prepared(flavor: Flavor, taken: Sample, schema: InputSchema) -> Sample:
    """Return the sample as the model takes it, or rows of the flavor's own choice when there is none."""
    rows = flavor.as_rows(taken.rows, schema)  # type: ignore[attr-defined]
    positions = taken.positions or range(_length(rows))
    return replace(taken, rows=rows, positions=positions)


def answered(flavor: Flavor, model: Any, taken: Sample) -> Sample | None:
    """Let the model answer; None when it does not take the rows, which may be from before a preprocessing."""
    if not fits(flavor, model, taken.rows):
        return None
    try:
        answers, labels = flavor.predict(model, taken.rows)
    except Exception:  # whatever estimators raise on data they were not fitted on
        return None
    return replace(taken, answers=as_array(answers), labels=labels)


def fits(flavor: Flavor, model: Any, rows: Any) -> bool:
    """Whether rows have the columns that a model takes."""
    if hasattr(flavor, "accepts"):
        return rows is not None and bool(flavor.accepts(model, rows))
    width = flavor.width(model)
    shape: tuple[int, ...] = getattr(rows, "shape", ())
    if width is None or len(shape) != 2 or shape[1] != width:
        return False
    names = getattr(model, "feature_names_in_", None)
    return names is None or not hasattr(rows, "columns") or list(names) == list(rows.columns)


def compare(graph: bytes, taken: Sample) -> Parity:
    """Compare the model's answers with the graph's on the same rows.

    Args:
        graph: the model as serialised ONNX.
        taken: rows and answers.

    Raises:
        ValueError: the graph cannot be loaded or does not take the rows.
    """
    import numpy

    from a360runtime.onnx_model import ONNXModel

    native, labels, positions = taken.answers, taken.labels, taken.positions
    loaded = ONNXModel.from_bytes(graph)
    named = isinstance(taken.rows, Mapping)
    other = loaded.predict(taken.rows, "huggingface")[0] if named else loaded.predict(taken.rows)
    if native.shape != other.shape and native.size == other.size:
        other = other.reshape(native.shape)
    if native.shape != other.shape:
        raise ValueError(
            f"the graph answers an array of shape {other.shape}, the model one of {native.shape}"
        )
    if labels or native.dtype.kind not in "fiub":
        differs = ~_equal_labels(native, other)
    else:
        scale = float(numpy.nanmax(numpy.abs(native), initial=0.0))
        differs = ~numpy.isclose(
            other.astype(float),
            native.astype(float),
            rtol=RELATIVE,
            atol=1e-6 * max(scale, 1e-6),
            equal_nan=True,
        )
    by_row = differs.reshape(len(native), -1).any(axis=1)
    off = [position for position, wrong in zip(positions, by_row, strict=True) if wrong]
    first = int(numpy.argmax(by_row)) if off else 0
    example = f"row {off[0]}: model {native[first]}, ONNX {other[first]}" if off else ""
    if labels:
        agreement = 1.0 - len(off) / max(len(positions), 1)
        return Parity(
            len(positions), off, None, agreement, 1.0 - agreement <= MAX_LABELS_OFF + 1e-12, example
        )
    gap = numpy.abs(other.astype(float) - native.astype(float)) if native.dtype.kind in "fiub" else None
    largest = float(numpy.nanmax(gap, initial=0.0)) if gap is not None else None
    return Parity(len(positions), off, largest, None, not off, example)


def _length(data: Any) -> int:
    if isinstance(data, Mapping):
        return min(map(_length, data.values()), default=0)
    return 0 if data is None else len(data)


def refuse(what: str, parity: Parity) -> RunError:
    """Make the error for a graph that answers something else than the model."""
    shown = ", ".join(map(str, parity.off[:_SHOWN])) + (", ..." if len(parity.off) > _SHOWN else "")
    return RunError(
        f"The {what} was not logged: its ONNX form answers differently from the original.",
        f"{len(parity.off)} of {parity.rows} training rows differ (rows {shown}); {parity.example}.",
        "Scale very large or very close values before training, or cast train_features to float32 "
        "(X.astype('float32')) and train again: ONNX trees compare in float32.",
    )


def _equal_labels(native: Any, other: Any) -> Any:
    import numpy

    if native.dtype.kind in "fiub" and other.dtype.kind in "fiub":
        return native.astype(float) == other.astype(float)
    return numpy.asarray(native, dtype=str) == numpy.asarray(other, dtype=str)
