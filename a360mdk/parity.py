"""Does the ONNX graph answer what the model answers? Asked when a run closes, on training and edge rows."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a360mdk import samples
from a360mdk.flavors import base
from a360mdk.flavors.base import Flavor
from a360mdk.samples import Rows
from a360mdk.signature import as_array

if TYPE_CHECKING:
    from a360runtime.onnx_model import ONNXModel

SPREAD = 1e-4
"""A value may differ by this share of the standard deviation its column has over the training rows ..."""
RELATIVE = 1e-6
"""... and by this share of itself."""
PROBABILITY = 1e-4
"""A probability may differ by this. Labels have to be equal, except between two that are equally probable."""


@dataclass(frozen=True)
class Answers:
    """What a model answers to rows.

    Attributes:
        values: labels, or values (rows,) or (rows, columns).
        labels: whether they are labels.
        probabilities: of a classifier: (rows, classes), or a list of these for several targets; else None.
        relative: by which share of itself a value may differ.
    """

    values: Any
    labels: bool
    probabilities: Any = None
    relative: float = RELATIVE


@dataclass(frozen=True)
class Asked:
    """Rows and what the model itself answers to them."""

    rows: Rows
    answers: Answers


@dataclass(frozen=True)
class Difference:
    """The first answer that differs.

    Attributes:
        position: of the row among those compared.
        row: in words.
        column: of the answer, in words, and of the input where a single one is to blame.
        native, onnx: both answers, as text.
    """

    position: int
    row: str
    column: str
    native: str
    onnx: str

    def __str__(self) -> str:
        return f"{self.row}, {self.column}: model {self.native}, ONNX {self.onnx}"

    def document(self) -> dict[str, str]:
        """As a certificate holds it."""
        texts = {
            name: str(getattr(self, name)).replace("\0", "") for name in ("row", "column", "native", "onnx")
        }
        return {name: text if len(text) <= 300 else text[:297] + "..." for name, text in texts.items()}


@dataclass(frozen=True)
class Parity:
    """The outcome of one comparison.

    Attributes:
        rows: number of rows compared.
        edge_rows: how many of them were edge rows.
        made: whether the rows were made up, for want of training data.
        max_difference: largest absolute difference of values; None for labels.
        label_agreement: share of equal labels, 0 to 1; None for values.
        probability_difference: largest absolute difference of probabilities; None without any.
        off: in words, the rows whose answers differ by more than they may.
        difference: the first one of those, else the first label that differs between equal probabilities.
    """

    rows: int
    edge_rows: int = 0
    made: bool = False
    max_difference: float | None = None
    label_agreement: float | None = None
    probability_difference: float | None = None
    off: tuple[str, ...] = ()
    difference: Difference | None = None

    @property
    def passed(self) -> bool:
        """Close enough to be stored."""
        return not self.off


def ask(flavor: Flavor, model: Any, rows: Rows | None) -> Asked | None:
    """Let the model answer; None when it does not take the rows, which may be from before a preprocessing."""
    if rows is None or not fits(flavor, model, rows.data):
        return None
    return _asked(flavor, model, rows)


def ask_edges(flavor: Flavor, model: Any, asked: Asked, features: Any) -> Asked:
    """Let the model answer to edge rows too, as far as it takes them; return all rows and answers."""
    missing = base.answers_missing(flavor)
    groups = [group for group in samples.edges(features, asked.rows, missing) if group.places]
    if not groups:
        return asked
    together = samples.joined(groups)
    found = _asked(flavor, model, together)
    parts = [found] if found is not None else list(_piecewise(flavor, model, groups))
    return _together([asked, *parts])


def _piecewise(flavor: Flavor, model: Any, groups: Sequence[Rows]) -> Iterator[Asked]:
    """Answers to each group, and where a group is refused, to its rows one by one."""
    for group in groups:
        found = _asked(flavor, model, group)
        if found is not None:
            yield found
        elif len(group.places) > 1:
            for position in range(len(group.places)):
                one = _asked(flavor, model, samples.only(group, [position]))
                if one is not None:
                    yield one


def _asked(flavor: Flavor, model: Any, rows: Rows) -> Asked | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a model says of odd rows concerns nobody
            values, labels = flavor.predict(model, rows.data)
            probabilities = base.probabilities(flavor, model, rows.data) if labels else None
    except Exception:  # whatever models raise on data they were not fitted on
        return None
    answers = Answers(as_array(values), labels, probabilities, base.relative(flavor) or RELATIVE)
    return Asked(rows, answers) if len(answers.values) == len(rows.places) else None


def _together(parts: Sequence[Asked]) -> Asked:
    import numpy

    first = parts[0].answers
    probabilities: Any = None
    if isinstance(first.probabilities, list):
        probabilities = [
            numpy.concatenate([part.answers.probabilities[target] for part in parts])
            for target in range(len(first.probabilities))
        ]
    elif first.probabilities is not None:
        probabilities = numpy.concatenate([part.answers.probabilities for part in parts])
    values = numpy.concatenate([part.answers.values for part in parts])
    rows = samples.joined([part.rows for part in parts])
    return Asked(rows, Answers(values, first.labels, probabilities, first.relative))


def fits(flavor: Flavor, model: Any, rows: Any) -> bool:
    """Whether rows have the columns that a model takes; True where neither says."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None and hasattr(rows, "columns") and list(names) != list(rows.columns):
        return False
    if base.tries_rows(flavor):
        return True
    width = flavor.width(model)
    shape: tuple[int, ...] = getattr(rows, "shape", ())
    return width is None or (len(shape) == 2 and shape[1] == width)


def compare(onnx: "ONNXModel", asked: Asked, before: "ONNXModel | None" = None) -> Parity:
    """Compare the model's answers with the graph's on the same rows.

    Args:
        onnx: the graph.
        asked: rows and the model's answers.
        before: the graph of a preprocessor that the rows go through first.

    Raises:
        ValueError: the graph does not take the rows, or answers something of another form.
    """

    def answer(data: Any) -> list[Any]:
        return onnx.outputs(data if before is None else before.transform(data))

    try:
        outputs = answer(asked.rows.data)
    except Exception as error:  # onnxruntime raises a class of its own per kind of failure
        return _unanswered(answer, asked, error)
    return _Comparison(asked, outputs).result()


def same(asked: Asked, outputs: list[Any], among: Asked) -> bool:
    """Whether a graph's outputs are the model's answers, as far apart as the answers among which they are."""
    return _Comparison(asked, outputs, among).result().passed


def _unanswered(answer: Callable[[Any], list[Any]], asked: Asked, error: Exception) -> Parity:
    """The outcome where the graph refuses rows that the model takes: which one it is."""
    for position, place in enumerate(asked.rows.places):
        try:
            answer(samples.only(asked.rows, [position]).data)
        except Exception as refusal:
            shown = str(asked.answers.values[position])
            found = Difference(position, place, "the answer", shown, f"none: {refusal}")
            return Parity(
                len(asked.rows.places), asked.rows.edges, asked.rows.made, off=(place,), difference=found
            )
    raise ValueError(str(error)) from error


class _Comparison:
    """One comparison under way: the outputs of a graph against the answers of a model."""

    def __init__(self, asked: Asked, outputs: list[Any], among: Asked | None = None) -> None:
        self.asked, self.outputs, self.among = asked, outputs, among or asked
        self.native = asked.answers.values
        self.onnx = _like(self.native, outputs[0])

    def result(self) -> Parity:
        import numpy

        if self.asked.answers.labels or self.native.dtype.kind not in "fiub":
            different = ~_equal_labels(self.native, self.onnx)
            largest = None
            agreement = 1.0 - float(different.reshape(len(different), -1).any(axis=1).mean())
            wrong = different & ~self._ties() if different.any() else different
        else:
            native, onnx = self.native.astype(float), self.onnx.astype(float)
            wrong = different = _beyond(native, onnx, self._training_rows(), self.asked.answers.relative)
            largest, agreement = _largest(native, onnx), None
        odds, odds_wrong = self._probabilities()
        rows_off = wrong.reshape(len(wrong), -1).any(axis=1)
        if odds_wrong is not None:
            rows_off |= odds_wrong.any(axis=1)
        places = self.asked.rows.places
        off = tuple(places[position] for position in numpy.flatnonzero(rows_off))
        shown = wrong if off else different
        return Parity(
            len(places), self.asked.rows.edges, self.asked.rows.made, largest, agreement, odds, off,
            self._first(shown, odds_wrong),
        )  # fmt: skip

    def _training_rows(self) -> Any:
        """The rows that say how far values spread: those that are no edges."""
        values = self.among.answers.values
        return values[: len(values) - self.among.rows.edges].astype(float)

    def _first(self, wrong: Any, odds_wrong: Any) -> Difference | None:
        import numpy

        flat = wrong.reshape(len(wrong), -1)
        if flat.any():
            position, column = map(int, numpy.argwhere(flat)[0])
            native = self.native.reshape(flat.shape)[position, column]
            onnx = self.onnx.reshape(flat.shape)[position, column]
            several = flat.shape[1] > 1
            what = "label" if self.asked.answers.labels else "answer"
            where = f"column {column} of the answer" if several else f"the {what}"
        elif odds_wrong is not None and odds_wrong.any():
            position, column = map(int, numpy.argwhere(odds_wrong)[0])
            native, onnx = self._odds[0][position, column], self._odds[1][position, column]
            where = f"the probability of class {column}"
        else:
            return None
        place = self.asked.rows.places[position]
        return Difference(position, place, where, _shown(native), _shown(onnx))

    def _probabilities(self) -> tuple[float | None, Any]:
        import numpy

        native = self.asked.answers.probabilities
        if native is None:
            return None, None
        if len(self.outputs) < 2:
            raise ValueError("the graph answers no probabilities, the model does")
        pairs = (
            list(zip(native, _list_of(self.outputs[1], len(native)), strict=True))
            if isinstance(native, list)
            else [(native, self.outputs[1])]
        )
        together = [(as_array(one).astype(float), _like(as_array(one), other)) for one, other in pairs]
        self._odds = tuple(numpy.concatenate([pair[side] for pair in together], axis=1) for side in (0, 1))
        mine, theirs = (side.astype(float) for side in self._odds)
        wrong = ~((numpy.abs(mine - theirs) <= PROBABILITY) | (numpy.isnan(mine) & numpy.isnan(theirs)))
        return _largest(mine, theirs), wrong

    def _ties(self) -> Any:
        """Where another label is right as well: the model itself finds both equally probable."""
        import numpy

        native = self.asked.answers.probabilities
        tied = numpy.zeros(self.native.shape, dtype=bool)
        tables = native if isinstance(native, list) else [native]
        if native is None or self.native.reshape(len(tied), -1).shape[1] != len(tables):
            return tied
        labels = (side.reshape(len(tied), -1).astype(str) for side in (self.native, self.onnx))
        if self.native.dtype.kind in "fiub" and self.onnx.dtype.kind in "fiub":
            labels = (side.reshape(len(tied), -1).astype(float) for side in (self.native, self.onnx))
        mine, theirs = labels
        columns = [
            _tied(as_array(table), mine[:, target], theirs[:, target]) for target, table in enumerate(tables)
        ]
        return numpy.stack(columns, axis=1).reshape(self.native.shape)


def _tied(table: Any, mine: Any, theirs: Any) -> Any:
    """Rows where another label is as probable as the model's own.

    Some models do not choose by their probabilities; then no tie of these excuses anything.
    """
    import numpy

    best = table.argmax(axis=1)
    column_of = dict(zip(mine.tolist(), best.tolist(), strict=True))
    known = numpy.array([column_of.get(label, -1) for label in theirs.tolist()])
    rows = numpy.arange(len(table))
    if (numpy.array([column_of[label] for label in mine.tolist()]) != best).any():
        return numpy.zeros(len(table), dtype=bool)
    return (known >= 0) & (table[rows, best] - table[rows, known] <= RELATIVE)


def _beyond(native: Any, onnx: Any, training: Any, relative: float) -> Any:
    """Where values differ by more than they may."""
    import numpy

    with numpy.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column that is missing everywhere has no spread
        spread = numpy.nanstd(numpy.where(numpy.isfinite(training), training, numpy.nan), axis=0)
        allowed = SPREAD * numpy.nan_to_num(spread) + relative * numpy.abs(native)
        close = numpy.abs(onnx - native) <= numpy.maximum(allowed, _floor(training))
    same = (onnx == native) | (numpy.isnan(onnx) & numpy.isnan(native))
    return ~(close | same)


def _floor(training: Any) -> float:
    """What single precision can hardly tell from nothing beside the largest of these values."""
    import numpy

    finite = numpy.abs(training[numpy.isfinite(training)])
    return 1e-9 * max(float(finite.max(initial=0.0)), 1e-3)


def _largest(native: Any, onnx: Any) -> float | None:
    import numpy

    gap = numpy.abs(onnx - native)
    finite = gap[numpy.isfinite(gap)]
    return float(finite.max(initial=0.0))


def _like(native: Any, onnx: Any) -> Any:
    """The graph's answers in the shape of the model's: a column of values, or a flat list of them."""
    import numpy

    found = numpy.asarray(onnx)
    if found.shape != native.shape and found.size == native.size:
        found = found.reshape(native.shape)
    if found.shape != native.shape:
        raise ValueError(
            f"the graph answers an array of shape {found.shape}, the model one of {native.shape}"
        )
    return found


def _list_of(output: Any, count: int) -> list[Any]:
    """Probabilities of several targets: a sequence, or one array with the targets in front."""
    found = list(output)
    if len(found) != count:
        raise ValueError(f"the graph answers probabilities of {len(found)} targets, the model of {count}")
    return found


def _equal_labels(native: Any, onnx: Any) -> Any:
    import numpy

    if native.dtype.kind in "fiub" and onnx.dtype.kind in "fiub":
        return native.astype(float) == onnx.astype(float)
    return numpy.asarray(native, dtype=str) == numpy.asarray(onnx, dtype=str)


def _shown(value: Any) -> str:
    return str(value.item() if hasattr(value, "item") else value)
