"""PyTorch: whole modules.

The native copy is what ``torch.save(module)`` writes: people load it and call it on a float tensor. It is a
pickle, opened in the user's own kernel only, after its SHA-256 was found equal to the one recorded with the
run. Classes that were defined in a notebook are stored by value, so that other notebooks can load them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.base import Conversion, InputSchema
from a360mdk.flavors.graphs import made_up, named, quiet, try_rows
from a360mdk.flavors.torch_graph import EXAMPLE_ROWS, evaluating, export, first_output
from a360mdk.signature import FLOAT, as_array

INPUT = "X"


class PytorchFlavor:
    """Stores torch modules that ``torch.onnx`` can convert."""

    name = "pytorch"
    native_suffix: str | None = ".pt"
    answers_missing = False
    relative = 1e-5
    tries_rows = True
    packages = ("torch", "onnxscript")

    def unwrap(self, model: Any) -> Any:
        """Return the module itself: of one wrapped for several devices, or compiled, the one inside."""
        import torch

        if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            return self.unwrap(model.module)
        if hasattr(model, "_orig_mod"):  # what torch.compile returns
            return self.unwrap(model._orig_mod)
        if not isinstance(model, torch.nn.Module):
            raise RunError(
                f"A {type(model).__name__} cannot be stored by an experiment of the flavor pytorch.",
                "It is not a torch.nn.Module.",
                "Log the module itself, not its state_dict, or use an experiment of the model's own flavor.",
            )
        if isinstance(model, torch.jit.ScriptModule):
            raise RunError(
                "A scripted module cannot be stored.",
                "torch.onnx follows the code of modules, which scripting removes.",
                "Log the module that was scripted.",
            )
        return model

    def width(self, model: Any) -> int | None:
        """Return the number of columns of the first layer with weights, when that takes tables."""
        first = _first_layer(model)
        for attribute in ("in_features", "num_features"):
            if isinstance(getattr(first, attribute, None), int):
                return int(getattr(first, attribute))
        return None

    def predict(self, model: Any, rows: Any) -> tuple[Any, bool]:
        """Return the first output, in evaluation mode; never labels."""
        import torch

        mode = model.training
        model.eval()
        try:
            with torch.no_grad(), quiet():
                answer = _answer(model, rows)
        finally:
            model.train(mode)
        answer = answer.detach().cpu()
        return (answer.float() if answer.dtype in (torch.float16, torch.bfloat16) else answer).numpy(), False

    def conversions(self, model: Any, schema: InputSchema) -> Iterator[Conversion]:
        """Yield the one graph there is, in the module's own precision, for any number of rows."""
        import torch

        twin = evaluating(model)
        parameters = _parameter_names(twin)
        inputs = _inputs(twin, schema, len(parameters))
        taken = parameters[: len(inputs)]
        names = [
            given.name or (INPUT if len(inputs) == 1 else name)
            for given, name in zip(inputs, taken, strict=True)
        ]

        def native(arrays: dict[str, Any]) -> Any:
            with torch.no_grad(), quiet():
                return first_output(twin(*map(torch.as_tensor, arrays.values()))).numpy()

        example = {
            name: torch.as_tensor(given.rows(EXAMPLE_ROWS)) for name, given in zip(taken, inputs, strict=True)
        }
        rows = torch.export.Dim("rows")
        graph = export(twin, example, names, {name: {0: rows} for name in taken})
        try_rows(
            type(model).__name__,
            graph,
            native,
            lambda count: {name: given.rows(count) for name, given in zip(names, inputs, strict=True)},
        )
        shapes = {name: given.shape for name, given in zip(names, inputs, strict=True)}
        yield Conversion(inputs[0].dtype, named(graph, shapes, schema.names))

    def save(self, model: Any, sink: Any) -> None:
        """Write the module."""
        import cloudpickle
        import torch

        try:
            torch.save(model, sink, pickle_module=cloudpickle)
        except Exception as error:  # pickling runs code of every object inside
            raise RunError(
                f"The native copy of the {type(model).__name__} could not be written.",
                f"{type(error).__name__}: {error}",
                "Keep only parameters, buffers and plain values in the module.",
            ) from error

    def load(self, path: Path) -> Any:
        """Load the module onto the CPU, ready to answer: notebook only, checksum verified by the caller."""
        import torch

        return torch.load(path, map_location="cpu", weights_only=False).eval()


@dataclass(frozen=True)
class _Input:
    """One argument of forward: the graph's name of it, type, shape of one row, bound of whole numbers."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    below: int = 2

    def rows(self, count: int) -> Any:
        """Make up so many rows."""
        return made_up(self.dtype, (count, *self.shape), self.below)


def _inputs(module: Any, schema: InputSchema, arguments: int) -> list[_Input]:
    """What forward takes: the first of the likely inputs that it answers to.

    Raises:
        RunError: none of them.
    """
    import torch

    tried = []
    reason = ""
    for candidate in _candidates(module, schema):
        if len(candidate) > arguments or candidate in tried:
            continue
        tried.append(candidate)
        try:
            with torch.no_grad(), quiet():
                first_output(module(*(torch.as_tensor(given.rows(EXAMPLE_ROWS)) for given in candidate)))
        except Exception as error:  # whatever forward raises
            reason = reason or f"With {_described(candidate)}: {str(error).strip().splitlines()[0][:200]}"
            continue
        return candidate
    raise RunError(
        f"What the {type(module).__name__} takes is not known.",
        reason or "Neither the experiment's train_features nor the first layer say what one row looks like.",
        "Give the experiment train_features as the module takes them, or log the preprocessor as well.",
    )


def _candidates(module: Any, schema: InputSchema) -> Iterator[list[_Input]]:
    number, below = _float_type(module), int(getattr(_first_layer(module), "num_embeddings", 2))
    if len(schema.tensors) > 1:
        yield [
            _Input(name, number if dtype.startswith("float") else "int64", shape, below)
            for name, (dtype, shape) in schema.tensors.items()
        ]
    known = {dtype.startswith("float") for dtype, _ in schema.tensors.values()}
    known |= {kind == FLOAT for kind in schema.types.values()}
    shapes = [shape for _, shape in list(schema.tensors.values())[:1]]
    widths = (len(schema.names) or None, PytorchFlavor().width(module), schema.width)
    shapes += [(width,) for width in widths if width is not None]
    for shape in shapes:
        for kind in _kinds(module, any(known) if known else None):
            yield [_Input("", kind, shape, below)]


def _first_layer(module: Any) -> Any:
    """The first submodule that holds parameters of its own."""
    for part in module.modules():
        if any(True for _ in part.parameters(recurse=False)):
            return part
    return None


def _float_type(module: Any) -> str:
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return str(parameter.dtype).removeprefix("torch.")
    return "float32"


def _parameter_names(module: Any) -> list[str]:
    """Names of the arguments that forward takes by position."""
    import inspect

    parameters = inspect.signature(module.forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    if not named:
        raise RunError(
            f"The {type(module).__name__} cannot be converted to ONNX.",
            "Its forward names no argument.",
            "Define forward(self, x).",
        )
    return named


def _answer(module: Any, rows: Any) -> Any:
    """The first output for rows of the module's own types, on its device."""
    import torch

    device = next((parameter.device for parameter in module.parameters()), None)
    number = getattr(torch, _float_type(module))
    if isinstance(rows, Mapping):
        tensors = [_tensor(values).to(device) for values in rows.values()]
        return first_output(module(*(t.to(number) if t.is_floating_point() else t.long() for t in tensors)))
    tensor = _tensor(rows).to(device)
    first, second = _kinds(module, tensor.is_floating_point())
    try:
        return first_output(module(tensor.to(getattr(torch, first))))
    except Exception as error:  # whatever forward raises on the wrong type
        try:
            return first_output(module(tensor.to(getattr(torch, second))))
        except Exception:
            raise error from None


def _kinds(module: Any, floats: bool | None) -> tuple[str, str]:
    """Types to feed a module, the likelier first; ``floats`` is what the data holds, None when not known.

    Whole numbers are for embeddings; all else computes in floats. Data that holds fractions is never cut to
    whole numbers while the module takes it as it is.
    """
    number = _float_type(module)
    embeds = hasattr(_first_layer(module), "num_embeddings")
    return ("int64", number) if embeds and not floats else (number, "int64")


def _tensor(values: Any) -> Any:
    import torch

    return values.detach() if hasattr(values, "detach") else torch.as_tensor(_plain(as_array(values)))


def _plain(array: Any) -> Any:
    return array.astype(float) if array.dtype == object else array


def _described(inputs: Sequence[_Input]) -> str:
    return ", ".join(f"{given.dtype} of shape {('rows', *given.shape)}" for given in inputs)


FLAVOR = PytorchFlavor()
