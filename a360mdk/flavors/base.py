"""What a framework has to offer so that its models can be stored, compared and loaded again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

ROWS = 100
"""Training rows compared where a flavor asks for no other number."""


@dataclass(frozen=True)
class InputSchema:
    """What is known of a model's input.

    Attributes:
        names: feature names in training order; empty when unknown.
        types: signature type ("float", "text", ...) by feature name, where known.
        width: number of columns when given by the user.
        tensors: type and shape of one row by input name, of arrays and dicts of arrays; one array's name is
            empty.
        tokenizer, pipeline_name: what the experiment was given for a Hugging Face model.
        exact: whether something behind it may tell values apart that float32 does not, so that the float64
            form comes first.
    """

    names: Sequence[str] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    width: int | None = None
    tensors: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    tokenizer: Any = None
    pipeline_name: str | None = None
    exact: bool = False


@dataclass(frozen=True)
class Conversion:
    """One way a model can be written as ONNX.

    Attributes:
        label: names it, for example "float32".
        graph: the serialised ModelProto.
        instead: it only stands in for a way before it that cannot be used at all. Where that one answers
            otherwise than the model, this one, which is coarser, could do better by chance only.
    """

    label: str
    graph: bytes
    instead: bool = False


class Flavor(Protocol):
    """One framework.

    Beside the members below a flavor may have these, which the functions of this module read:

    - ``answers_missing: bool``: whether its models can take missing values, see :func:`answers_missing`;
    - ``tries_rows: bool``: whether only asking a model tells if it takes some rows, see :func:`tries_rows`;
    - ``relative: float``: how far answers of its models may be apart, see :func:`relative`;
    - ``packages: tuple[str, ...]``: distributions whose versions a certificate names, see :func:`packages`;
    - ``probabilities(model, rows)``: of a classifier, see :func:`probabilities`;
    - ``prepared_rows(model, rows, tokenizer)``: training rows as the model takes them, see
      :func:`prepared_rows`;
    - ``rows_to_compare(model)``: how many training rows tell, see :func:`rows_to_compare`;
    - ``made_rows(model, schema)``: rows for a model without training rows, see :func:`made_rows`.
    """

    name: str
    native_suffix: str | None  # of the native copy's file; None when none is stored

    def unwrap(self, model: Any) -> Any:
        """Return what counts, of a search the best estimator. RunError when it cannot be stored."""

    def conversions(self, model: Any, schema: InputSchema) -> Iterator[Conversion]:
        """Yield the model as ONNX, the preferred way first. RunError when no converter knows the model."""

    def width(self, model: Any) -> int | None:
        """Return the number of input columns of a model, None when it does not say."""

    def predict(self, model: Any, rows: Any) -> tuple[Any, bool]:
        """Return native predictions, and whether they are labels (else values)."""

    def save(self, model: Any, sink: Any) -> None:
        """Write the native copy."""

    def load(self, path: Path) -> Any:
        """Load the native copy. Only ever called in a notebook, on a file whose checksum was recorded."""


def answers_missing(flavor: Flavor) -> bool:
    """Whether models of a flavor may be asked for rows with missing values; False where it does not say."""
    return bool(getattr(flavor, "answers_missing", False))


def tries_rows(flavor: Flavor) -> bool:
    """Whether the number of columns says too little of what a model takes: images, texts, chosen columns."""
    return bool(getattr(flavor, "tries_rows", False))


def relative(flavor: Flavor) -> float | None:
    """By which share of itself a value may differ, where that is more than usual.

    Networks add up many products in single precision, and each runtime adds in an order of its own.
    """
    found = getattr(flavor, "relative", None)
    return None if found is None else float(found)


def packages(flavor: Flavor) -> tuple[str, ...]:
    """Names of the distributions that train and convert: framework and converter."""
    return tuple(getattr(flavor, "packages", ()))


def probabilities(flavor: Flavor, model: Any, rows: Any) -> Any | None:
    """Return what a classifier answers beside its labels, as the graph's second output holds it.

    Returns:
        An array (rows, classes), a list of such arrays for several targets, or None when the model, or the
        flavor, has none.
    """
    found = getattr(flavor, "probabilities", None)
    return None if found is None else found(model, rows)


def prepared_rows(flavor: Flavor, model: Any, rows: Any, tokenizer: Any) -> Any:
    """Return training rows as the model takes them, for example texts as the tokenizer's arrays."""
    found = getattr(flavor, "prepared_rows", None)
    return rows if found is None else found(model, rows, tokenizer)


def rows_to_compare(flavor: Flavor, model: Any) -> int:
    """How many training rows are compared: more where single rows may differ, that a few would not show."""
    found = getattr(flavor, "rows_to_compare", None)
    return ROWS if found is None else int(found(model))


def made_rows(flavor: Flavor, model: Any, schema: InputSchema) -> Any | None:
    """Return rows made up from what a fitted model knows of its input; None when that is too little."""
    found = getattr(flavor, "made_rows", None)
    return None if found is None else found(model, schema)
