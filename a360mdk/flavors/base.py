"""What a framework has to offer so that its models can be stored, compared and loaded again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


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
    """

    names: Sequence[str] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    width: int | None = None
    tensors: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    tokenizer: Any = None
    pipeline_name: str | None = None


@dataclass(frozen=True)
class Conversion:
    """One way a model can be written as ONNX."""

    label: str
    graph: bytes


class Flavor(Protocol):
    """One framework.

    Three members are optional. ``answers_missing`` is False where models do not take missing values.
    ``accepts(model, rows)`` says whether a model takes rows that are not tables of :meth:`width` columns.
    ``as_rows(rows, schema)`` turns training data (None when there is none) into what the model takes.
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
