"""What the tests of all flavors ask: convert, compare as the close of a run does, save and load."""

import hashlib
import io
from pathlib import Path
from typing import Any

from a360mdk import parity, signature
from a360mdk.flavors.base import Flavor, InputSchema
from a360runtime import ONNXModel


def schema_of(train_features: Any, **more: Any) -> InputSchema:
    """What an experiment with this training data knows."""
    text = signature.infer(train_features) if train_features is not None else None
    names = [str(name) for name in getattr(train_features, "columns", [])] or more.pop("names", [])
    types = signature.column_types(text, names)
    return InputSchema(names=names, types=types, tensors=signature.tensors(text), **more)


def converted(
    flavor: Flavor, model: Any, train_features: Any, **more: Any
) -> tuple[ONNXModel, parity.Parity]:
    """The graph of a model, and how its answers compare on the training data; it has to pass."""
    schema = schema_of(train_features, **more)
    taken = parity.sample(train_features)
    if hasattr(flavor, "as_rows"):
        taken = parity.prepared(flavor, taken, schema)
    fitted = flavor.unwrap(model)
    answered = parity.answered(flavor, fitted, taken)
    assert answered is not None, "the model does not take its own training data"
    (conversion,) = flavor.conversions(fitted, schema)
    result = parity.compare(conversion.graph, answered)
    assert result.passed, result
    assert result.rows == len(answered.positions)
    return ONNXModel.from_bytes(conversion.graph), result


def reloaded(flavor: Flavor, model: Any, folder: Path) -> Any:
    """The model after its native copy was written and read."""
    sink = io.BytesIO()
    flavor.save(model, sink)
    path = folder / hashlib.sha256(sink.getvalue()).hexdigest()  # artifacts are downloaded without a suffix
    path.write_bytes(sink.getvalue())
    return flavor.load(path)
