"""Finished ONNX graphs of neural networks: names of features in them, and a trial on made-up rows."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.sklearn import FEATURE_NAMES_KEY

# Understood by every ONNX Runtime since 1.14, so a package may bring an older one.
OPSET = 18
TRIED_ROWS = (1, 5)
_TOLERANCE = 1e-3


def try_rows(
    what: str,
    graph: bytes,
    native: Callable[[dict[str, Any]], Any],
    rows_of: Callable[[int], dict[str, Any]],
) -> None:
    """Ask model and graph for one row and for five: a graph may hold the number of rows it was made with.

    Args:
        what: class of the model, for errors.
        graph: what it became.
        native: the original, from arrays by input name to its first output.
        rows_of: gives so many made-up rows as arrays by input name.

    Raises:
        RunError: the graph cannot be run, does not take another number of rows, or answers otherwise.
    """
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    kept = {node.name for node in session.get_inputs()}
    for count in TRIED_ROWS:
        rows = rows_of(count)
        try:
            answer = native(rows)
            other = session.run(None, {name: array for name, array in rows.items() if name in kept})[0]
        except Exception as error:  # the framework's or ONNX Runtime's own
            raise _fixed_rows(what, f"With {count} rows: {first_line(error)}") from error
        if answer.size != other.size:
            raise _fixed_rows(
                what, f"{count} rows give an answer of shape {other.shape} instead of {answer.shape}."
            )
        other = other.reshape(answer.shape)
        scale = float(numpy.abs(answer).max(initial=0.0))
        if not numpy.allclose(other, answer, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True):
            raise RunError(
                f"The {what} was not logged: its ONNX form answers differently.",
                f"On {count} made-up rows by up to {float(numpy.nanmax(numpy.abs(other - answer))):.3g}.",
                "It must give the same answer to the same input: no random numbers, and no state.",
            )


def made_up(dtype: str, shape: Sequence[int], below: int = 2) -> Any:
    """Make up rows, the same ones each time: numbers from 0 to 1, whole numbers from 0 to ``below``.

    Args:
        dtype: numpy's name of the type.
        shape: with the number of rows.
        below: bound of whole numbers.
    """
    import numpy

    random = numpy.random.default_rng(shape[0])
    if numpy.dtype(dtype).kind in "iu":
        return random.integers(0, below, size=tuple(shape)).astype(dtype)
    return random.random(size=tuple(shape)).astype(dtype)


def named(graph: bytes, shapes: Mapping[str, Sequence[int | None]], names: Sequence[str]) -> bytes:
    """Record the features' names in a graph, when its one input is a table with a column each.

    Args:
        graph: serialised.
        shapes: shape of one row by input.
        names: of the features.
    """
    if not names or [tuple(shape) for shape in shapes.values()] != [(len(names),)]:
        return graph
    import onnx

    model = onnx.load_model_from_string(graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = FEATURE_NAMES_KEY, json.dumps(list(names))
    done: bytes = model.SerializeToString()
    return done


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep converters' talk about their own steps out of the notebook."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 300 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _fixed_rows(what: str, reason: str) -> RunError:
    return RunError(
        f"The {what} was not logged: it does not take any number of rows.",
        reason,
        "Let it take the number of rows from its input, and keep one row's answer apart from another's.",
    )
