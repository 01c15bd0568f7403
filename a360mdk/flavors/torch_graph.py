"""From a torch module to an ONNX graph: what PyTorch and Hugging Face models have in common."""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.graphs import OPSET, first_line, quiet

EXAMPLE_ROWS = 2


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


def _not_convertible(module: Any, error: Exception) -> RunError:
    causes = list(_causes(error))
    text = "\n".join(str(cause) for cause in causes)
    hint = "Replace it by operators that ONNX has; the model itself is untouched."
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([\w.:]+)'", text)
    if operator:
        name = operator.group(1)
        return RunError(
            f"The operator {name} of the {type(module).__name__} has no ONNX form; the run was not logged.",
            first_line(causes[-1]),
            hint,
        )
    place = re.findall(r'File "([^"]+)", line (\d+), in \w+\n\s*(.+)', text)
    layer, line = _layer(module, place)
    if layer:
        return RunError(
            f"The layer {layer} of the {type(module).__name__} cannot be converted; the run was not logged.",
            f"{first_line(causes[-1])} In: {line}",
            "Let forward do the same for every row: torch.where instead of if, and no loops over values.",
        )
    return RunError(
        f"The {type(module).__name__} cannot be converted to ONNX; the run was not logged.",
        f"{type(causes[-1]).__name__}: {first_line(causes[-1])}",
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
