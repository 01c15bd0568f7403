"""What the tests of all flavors ask: convert, compare as the close of a run does, save and load."""

import hashlib
import io
from pathlib import Path
from typing import Any

from a360mdk import certifying, signature
from a360mdk.certifying import Subject
from a360mdk.flavors.base import Flavor, InputSchema
from a360mdk.parity import Parity
from a360runtime import ONNXModel


def schema_of(train_features: Any, **more: Any) -> InputSchema:
    """What an experiment with this training data knows."""
    text = signature.infer(train_features) if train_features is not None else None
    names = [str(name) for name in getattr(train_features, "columns", [])] or more.pop("names", [])
    types = signature.column_types(text, names)
    return InputSchema(names=names, types=types, tensors=signature.tensors(text), **more)


def converted(
    flavor: Flavor, model: Any, train_features: Any, tokenizer: Any = None, **more: Any
) -> tuple[ONNXModel, Parity]:
    """The graph of a model, and how its answers compare as a run closes; it has to pass."""
    fitted = flavor.unwrap(model)
    schema = schema_of(train_features, tokenizer=tokenizer, **more)
    subject = Subject(flavor, fitted, None, schema, schema, train_features, tokenizer)
    chosen = certifying.choose(subject)
    assert chosen.model is not None
    assert chosen.certificate is not None, "the model does not take its own training data"
    (check,) = chosen.certificate.checks
    assert check.parity.passed
    assert check.parity.made == (train_features is None)
    assert set(flavor.packages) & set(chosen.certificate.versions)
    return ONNXModel.from_bytes(chosen.model), check.parity


def reloaded(flavor: Flavor, model: Any, folder: Path) -> Any:
    """The model after its native copy was written and read."""
    sink = io.BytesIO()
    flavor.save(model, sink)
    path = folder / hashlib.sha256(sink.getvalue()).hexdigest()  # artifacts are downloaded without a suffix
    path.write_bytes(sink.getvalue())
    return flavor.load(path)
