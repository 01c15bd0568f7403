"""From a torch module to an ONNX graph: what PyTorch and Hugging Face models have in common."""

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from a360mdk.exceptions import RunError

# Understood by every ONNX Runtime since 1.14, so a package may bring an older one.
OPSET = 18
EXAMPLE_ROWS = 2
CHECKED_ROWS = (1, 5)
_TOLERANCE = 1e-3


def evaluating(module: Any) -> Any:
    """Return a copy of a module on the CPU that answers as when serving: no dropout, no gradients.

    Types of less than 32 bits become float32, which ONNX Runtime computes in on a CPU.

    Raises:
        RunError: the module cannot be copied.
    """
    import torch

    try:
        twin = copy.deepcopy(module)
    except Exception as error:  # whatever the module's own attributes raise
        raise RunError(
            f"The {type(module).__name__} cannot be copied for its conversion.",
            f"{type(error).__name__}: {error}",
            "Keep only parameters, buffers and plain values in the module, and no results of a computation.",
        ) from error
    twin = twin.to("cpu").eval()
    halves = (torch.float16, torch.bfloat16)
    return twin.float() if any(p.dtype in halves for p in twin.parameters()) else twin


def first_output(answer: Any) -> Any:
    """Return the first tensor of what a module answers: itself, or of a tuple, a dict, an output object."""
    while not hasattr(answer, "detach"):
        if hasattr(answer, "logits"):
            answer = answer.logits
        elif hasattr(answer, "values"):
            answer = next(iter(answer.values()))
        else:
            answer = answer[0]
    return answer


def export(module: Any, example: dict[str, Any], names: Sequence[str], dynamic: dict[str, Any]) -> bytes:
    """Convert a module in evaluation mode.

    Args:
        module: as :func:`evaluating` returned it.
        example: tensors by argument name of ``forward``.
        names: names of the graph's inputs, in the order of ``example``.
        dynamic: which dimensions of each argument may have any length.

    Raises:
        RunError: an operator has no ONNX form, or the module's code cannot be followed; both are named.
    """
    import torch

    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (),
                kwargs=example,
                dynamo=True,
                dynamic_shapes=dynamic,
                input_names=list(names),
                opset_version=OPSET,
                verbose=False,
            )
        assert program is not None, "with dynamo=True a program is returned"
        graph: bytes = program.model_proto.SerializeToString()
    except Exception as error:  # the exporter has a class of its own per step
        raise _not_convertible(module, error) from error
    return graph


def check_batches(
    module: Any, graph: bytes, rows_of: Callable[[int], dict[str, Any]], names: Sequence[str]
) -> None:
    """Ask module and graph for one row and for five: a graph may hold the number of rows it was made with.

    Args:
        module: the original.
        graph: what it became.
        rows_of: gives so many rows of input by argument name.
        names: the graph's inputs, in the same order.

    Raises:
        RunError: the graph does not take another number of rows, or answers otherwise than the module.
    """
    import numpy
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for count in CHECKED_ROWS:
        rows = rows_of(count)
        feeds = {name: value.numpy() for name, value in zip(names, rows.values(), strict=True)}
        kept = {node.name for node in session.get_inputs()}
        try:
            with torch.no_grad(), quiet():
                native = first_output(module(**rows)).numpy()
            other = session.run(None, {name: value for name, value in feeds.items() if name in kept})[0]
        except Exception as error:  # torch's or ONNX Runtime's own
            raise _fixed_rows(module, f"With {count} rows: {_first_line(error)}") from error
        if native.size != other.size:
            raise _fixed_rows(
                module, f"{count} rows give an answer of shape {other.shape} instead of {native.shape}."
            )
        scale = float(numpy.abs(native).max(initial=0.0))
        if not numpy.allclose(
            other.reshape(native.shape), native, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True
        ):
            raise RunError(
                f"The {type(module).__name__} was not logged: its ONNX form answers differently.",
                f"On {count} made-up rows the answers differ by up to "
                f"{float(numpy.nanmax(numpy.abs(other.reshape(native.shape) - native))):.3g}.",
                "Its forward must give the same answer to the same input: no random numbers, no state.",
            )


def _fixed_rows(module: Any, reason: str) -> RunError:
    return RunError(
        f"The {type(module).__name__} was not logged: it does not take any number of rows.",
        reason,
        "Let forward take the number of rows from its input: x.reshape(x.shape[0], -1), squeeze(-1).",
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's talk about its own steps out of the notebook."""
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


def _not_convertible(module: Any, error: Exception) -> RunError:
    causes = list(_causes(error))
    text = "\n".join(str(cause) for cause in causes)
    hint = "Replace it by operators that ONNX has; the model itself is untouched."
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([\w.:]+)'", text)
    if operator:
        name = operator.group(1)
        return RunError(
            f"The operator {name} of the {type(module).__name__} has no ONNX form; the run was not logged.",
            _first_line(causes[-1]),
            hint,
        )
    place = re.findall(r'File "([^"]+)", line (\d+), in \w+\n\s*(.+)', text)
    layer, line = _layer(module, place)
    if layer:
        return RunError(
            f"The layer {layer} of the {type(module).__name__} cannot be converted; the run was not logged.",
            f"{_first_line(causes[-1])} In: {line}",
            "Let forward do the same for every row: torch.where instead of if, and no loops over values.",
        )
    return RunError(
        f"The {type(module).__name__} cannot be converted to ONNX; the run was not logged.",
        f"{type(causes[-1]).__name__}: {_first_line(causes[-1])}",
        hint,
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _layer(module: Any, places: list[tuple[str, str, str]]) -> tuple[str, str]:
    """The innermost submodule whose forward holds the line an error names, and that line."""
    for file, number, line in reversed(places):
        for path, part in module.named_modules():
            code = getattr(type(part).forward, "__code__", None)
            if code is None or code.co_filename != file:
                continue
            if int(number) in {found for _, _, found in code.co_lines()}:
                name = type(part).__name__
                return (f"{path} ({name})" if path else name), line.strip()
    return "", ""


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
