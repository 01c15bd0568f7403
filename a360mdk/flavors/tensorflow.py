"""TensorFlow: Keras 3 models, of whatever style, once they know what they take.

Keras' own export goes through tf2onnx as well, but leaves constants of some layers (Normalization) as inputs
of the graph that nobody can feed, and writes operators ONNX does not have without saying so. The native copy
is Keras' own format, which holds the model as configuration and weights.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a360mdk.exceptions import ArtifactError, RunError
from a360mdk.flavors.base import Conversion, InputSchema
from a360mdk.flavors.graphs import OPSET, first_line, made_up, named, quiet, try_rows
from a360mdk.signature import as_array

INPUT = "X"
_CHUNK = 1024
_UNKNOWN_LENGTH = 4
_FILE = "model.keras"


@dataclass(frozen=True)
class _Inputs:
    """What a model takes: names, shapes of one row, types, and how to put arrays together for it."""

    names: list[str]
    shapes: list[tuple[int | None, ...]]
    dtypes: list[str]
    pack: Callable[[list[Any]], Any]


class TensorflowFlavor:
    """Stores Keras models that tf2onnx can convert."""

    name = "tensorflow"
    native_suffix: str | None = ".keras"
    answers_missing = False
    relative = 1e-5
    tries_rows = True
    packages = ("tensorflow", "tensorflow-cpu", "keras", "tf2onnx")

    def unwrap(self, model: Any) -> Any:
        """Return the model itself."""
        import keras

        if not isinstance(model, keras.Model):
            raise RunError(
                f"A {type(model).__name__} cannot be stored by an experiment of the flavor tensorflow.",
                "It is not a Keras 3 model.",
                "Log a keras.Model: Sequential, functional or a class of your own.",
            )
        if not model.built:
            raise RunError(
                f"The {type(model).__name__} does not know what it takes.",
                "It was neither fitted nor given an Input layer.",
                "Call fit before logging it.",
            )
        return model

    def width(self, model: Any) -> int | None:
        """Return the number of columns, when the model takes one table."""
        try:
            shapes = _inputs_of(model).shapes
        except RunError:
            return None
        return shapes[0][0] if len(shapes) == 1 and len(shapes[0]) == 1 else None

    def predict(self, model: Any, rows: Any) -> tuple[Any, bool]:
        """Return the first output; never labels.

        Raises:
            ValueError: rows of another shape than the model was fitted on, which Keras might stretch.
        """
        inputs = _inputs_of(model)
        arrays = _arrays(inputs, rows)
        if any(len(a.shape) != len(s) + 1 for a, s in zip(arrays, inputs.shapes, strict=True)):
            raise ValueError(f"the model takes rows of the shapes {inputs.shapes}")
        return _answer(model, inputs, arrays), False

    def conversions(self, model: Any, schema: InputSchema) -> Iterator[Conversion]:
        """Yield the one graph there is, for any number of rows."""
        inputs = _inputs_of(model)
        graph = _convert(model, inputs)

        def rows_of(count: int) -> dict[str, Any]:
            return {
                name: made_up(dtype, (count, *(size or _UNKNOWN_LENGTH for size in shape)))
                for name, shape, dtype in zip(inputs.names, inputs.shapes, inputs.dtypes, strict=True)
            }

        try_rows(
            type(model).__name__, graph, lambda rows: _answer(model, inputs, list(rows.values())), rows_of
        )
        shapes = dict(zip(inputs.names, inputs.shapes, strict=True))
        yield Conversion(inputs.dtypes[0], named(graph, shapes, schema.names))

    def save(self, model: Any, sink: Any) -> None:
        """Write the model in Keras' format, which goes through a file."""
        import keras

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _FILE
            try:
                with quiet():
                    keras.saving.save_model(model, file)
            except Exception as error:  # asks every layer for its configuration
                raise RunError(
                    f"The native copy of the {type(model).__name__} could not be written.",
                    f"{type(error).__name__}: {first_line(error)}",
                    "Layers of your own need get_config().",
                ) from error
            with file.open("rb") as source:
                shutil.copyfileobj(source, sink)

    def load(self, path: Path) -> Any:
        """Load the model: notebook only, checksum verified by the caller."""
        import keras

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _FILE
            file.symlink_to(path.resolve())
            try:
                return keras.saving.load_model(file, custom_objects=_own_classes(), safe_mode=False)
            except (TypeError, ValueError) as error:
                raise ArtifactError(
                    "The native Keras model could not be loaded.",
                    first_line(error),
                    "Define its own classes in this notebook first, each decorated with "
                    "@keras.saving.register_keras_serializable().",
                ) from error


def _own_classes() -> dict[str, Any]:
    """Layers, models, losses and metrics that the notebook defines; Keras looks for them in packages only."""
    import sys

    import keras

    kinds = (keras.Layer, keras.losses.Loss, keras.metrics.Metric)
    defined = vars(sys.modules["__main__"]).items()
    return {name: kind for name, kind in defined if isinstance(kind, type) and issubclass(kind, kinds)}


def _inputs_of(model: Any) -> _Inputs:
    """What a built model takes.

    Raises:
        RunError: its class was given several arguments, which only its code understands.
    """
    import keras

    structure = getattr(model, "input", None) if hasattr(model, "inputs") else None
    if structure is None:
        return _inputs_of_class(model)
    tensors = keras.tree.flatten(structure)
    if isinstance(structure, Mapping):
        names = keras.tree.flatten({name: name for name in structure})
    else:
        names = [INPUT] if len(tensors) == 1 else [tensor.name for tensor in tensors]
    return _Inputs(
        names,
        [tuple(tensor.shape[1:]) for tensor in tensors],
        [str(tensor.dtype) for tensor in tensors],
        lambda arrays: keras.tree.pack_sequence_as(structure, arrays),
    )


def _inputs_of_class(model: Any) -> _Inputs:
    """Of a model whose class defines ``call``: what it was built with."""
    shape = (model.get_build_config() or {}).get("input_shape")
    if isinstance(shape, list) and shape and not isinstance(shape[0], list | tuple | dict):
        shape = tuple(shape)
    kind = str(getattr(model, "input_dtype", None) or "float32")
    if isinstance(shape, Mapping):
        names, shapes = list(shape), [tuple(of) for of in shape.values()]
        return _Inputs(
            names,
            [of[1:] for of in shapes],
            [kind] * len(names),
            lambda arrays: dict(zip(names, arrays, strict=True)),
        )
    if isinstance(shape, list):
        names = [f"{INPUT}{position}" for position in range(len(shape))]
        return _Inputs(names, [tuple(of)[1:] for of in shape], [kind] * len(names), list)
    if not isinstance(shape, tuple):
        raise RunError(
            f"What the {type(model).__name__} takes is not known.",
            "Its call takes several arguments, or it was never called on data.",
            "Call fit first; let call(self, inputs) take one argument, which may be a dict of arrays.",
        )
    return _Inputs([INPUT], [tuple(shape[1:])], [kind], lambda arrays: arrays[0])


def _arrays(inputs: _Inputs, rows: Any) -> list[Any]:
    if isinstance(rows, Mapping):
        given = [rows[name] for name in inputs.names] if set(inputs.names) <= set(rows) else rows.values()
    else:
        given = [rows]
    arrays = [as_array(values) for values in given]
    return [array.astype(kind, copy=False) for array, kind in zip(arrays, inputs.dtypes, strict=True)]


def _answer(model: Any, inputs: _Inputs, arrays: list[Any]) -> Any:
    """The first output, asked for in chunks and without tf.function, which would be made anew per length."""
    import keras
    import numpy

    answers = []
    for start in range(0, max(len(arrays[0]), 1), _CHUNK):
        chunk = [keras.ops.convert_to_tensor(array[start : start + _CHUNK]) for array in arrays]
        answer = keras.tree.flatten(model(inputs.pack(chunk), training=False))[0]
        answers.append(keras.ops.convert_to_numpy(answer))
    joined = numpy.concatenate(answers)
    return joined.astype(numpy.float32) if joined.dtype == numpy.float16 else joined


def _convert(model: Any, inputs: _Inputs) -> bytes:
    import keras
    import tensorflow
    import tf2onnx

    specs = [
        tensorflow.TensorSpec((None, *shape), dtype, name=f"input_{position}")
        for position, (shape, dtype) in enumerate(zip(inputs.shapes, inputs.dtypes, strict=True))
    ]

    def flat(*tensors: Any) -> list[Any]:
        return list(keras.tree.flatten(model(inputs.pack(list(tensors)), training=False)))

    function = tensorflow.function(flat, input_signature=specs)
    try:
        with quiet():
            traced = function.get_concrete_function()
            proto, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    except Exception as error:  # tf2onnx and tensorflow have classes of their own for each reason
        raise RunError(
            f"The {type(model).__name__} cannot be converted to ONNX; the run was not logged.",
            f"{type(error).__name__}: {first_line(error)}",
            "Replace the layer it names by one that ONNX has an operator for; the model itself is untouched.",
        ) from error
    _refuse_unknown_operators(model, proto)
    _keep_constants(proto, traced, inputs)
    graph: bytes = proto.SerializeToString()
    return graph


def _refuse_unknown_operators(model: Any, proto: Any) -> None:
    """tf2onnx copies an operator it does not know into the graph, where no runtime knows it either."""
    import onnx

    unknown = [node for node in proto.graph.node if not onnx.defs.has(node.op_type, node.domain)]
    if not unknown:
        return
    node = unknown[0]
    layers = {layer.name for layer in model.layers}
    # Parts of a node's name are layers; a second use of a layer has a number behind its name.
    parts = node.name.split("/")
    found = [part for part in parts if part in layers or part.rpartition("_")[0] in layers]
    where = f" (layer {found[-1] if found[-1] in layers else found[-1].rpartition('_')[0]})" if found else ""
    raise RunError(
        f"The operator {node.op_type}{where} of the {type(model).__name__} has no ONNX form; "
        "the run was not logged.",
        f"Not known to tf2onnx: {', '.join(sorted({each.op_type for each in unknown}))}.",
        "Replace the layer by one that ONNX has an operator for; the model itself is untouched.",
    )


def _keep_constants(proto: Any, traced: Any, inputs: _Inputs) -> None:
    """Give the graph the names of the model's inputs, and the values that layers hold outside of weights."""
    import onnx

    values = {placeholder.name: value for value, placeholder in traced.graph.captures}
    names = {f"input_{position}": name for position, name in enumerate(inputs.names)}
    kept = []
    for given in list(proto.graph.input):
        bare = given.name.removesuffix(":0")
        if bare in names:
            kept.append((given, names[bare]))
        else:
            value = values[given.name].numpy()
            proto.graph.initializer.append(onnx.numpy_helper.from_array(value, given.name))
    del proto.graph.input[:]
    for given, name in kept:
        # Loops hold graphs of their own that may use the input: a step renames it without touching them.
        proto.graph.node.insert(0, onnx.helper.make_node("Identity", [name], [given.name]))
        given.name = name
        proto.graph.input.append(given)


FLAVOR = TensorflowFlavor()
