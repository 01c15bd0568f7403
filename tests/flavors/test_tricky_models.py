"""Fifty tricky models and more: each answers the same as ONNX, or is refused with the reason."""

from typing import Any

import numpy as np
import pytest

from a360mdk import certifying, flavors
from a360mdk.certifying import Chosen, Subject
from a360mdk.exceptions import RunError
from a360mdk.flavors import base
from a360mdk.flavors.base import InputSchema
from a360mdk.signature import column_types, infer
from a360runtime import ONNXModel
from tests.flavors import tricky_pipelines, tricky_sklearn, tricky_xgboost
from tests.flavors.tricky import Case

CASES = [*tricky_pipelines.CASES, *tricky_sklearn.CASES, *tricky_xgboost.CASES]


def choose(case: Case) -> tuple[Chosen, Any, Any, Any]:
    """What the close of a run does; and model, preprocessor, and rows nobody trained on."""
    model, before, train, rest = case.fitted()
    flavor = flavors.get(case.flavor)
    names = [str(name) for name in getattr(train, "columns", [])]
    types = column_types(infer(train), names) if names else {}
    schema = InputSchema(names=names, types=types)
    chosen = certifying.choose(Subject(flavor, flavor.unwrap(model), before, schema, schema, train))
    return chosen, flavor.unwrap(model), before, rest


def tied(expected: Any, shape: Any) -> Any:
    """Where the model itself finds two labels equally probable, so that either is right."""
    tables = expected if isinstance(expected, list) else [expected]
    if expected is None or np.prod(shape) != len(tables) * len(tables[0]):
        return np.zeros(shape, dtype=bool)
    best = [np.sort(table, axis=1)[:, -2:] for table in tables]
    return np.stack(
        [pair[:, -1] - pair[:, 0] < 1e-6 if pair.shape[1] == 2 else pair[:, 0] < 0 for pair in best], axis=1
    ).reshape(shape)


def same(native: Any, onnx: Any, labels: bool, ties: Any) -> None:
    """Assert equal labels, or values as close as single precision keeps them."""
    native, onnx = np.asarray(native), np.asarray(onnx)
    onnx = onnx.reshape(native.shape)
    if labels or native.dtype.kind not in "fiub":
        equal = native.astype(str) == onnx.astype(str)
        if native.dtype.kind in "fiub" and onnx.dtype.kind in "fiub":
            equal = native.astype(float) == onnx.astype(float)
        assert (equal | ties).all(), f"{(~equal).sum()} labels differ"
        return
    native, onnx = native.astype(float), onnx.astype(float)
    allowed = 1e-3 * np.nanstd(native, axis=0) + 1e-6 * np.abs(native)
    assert (np.isnan(native) == np.isnan(onnx)).all()
    assert (np.abs(native - onnx) <= allowed)[~np.isnan(native)].all(), np.nanmax(np.abs(native - onnx))


@pytest.mark.row("M006", "M058", "M059")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_answers_the_same_or_is_refused(case: Case) -> None:
    if case.refused:
        with pytest.raises(RunError, match=case.refused):
            choose(case)
        return
    chosen, model, before, rest = choose(case)
    assert chosen.certificate is not None
    assert chosen.model is not None
    document = chosen.certificate.document()
    parts = ["preprocessor", "model", "chain"] if before is not None else ["model"]
    assert [check["part"] for check in document["checks"]] == parts
    assert all(check["passed"] for check in document["checks"])
    assert all(check["source"] == "training" and check["rows"] > 100 for check in document["checks"])
    flavor = flavors.get(case.flavor)
    rows = rest
    if chosen.preprocessor is not None:
        rows = ONNXModel.from_bytes(chosen.preprocessor).transform(rest)
    outputs = ONNXModel.from_bytes(chosen.model).outputs(rows)
    inner = rest if before is None else before.transform(rest)
    native, labels = flavor.predict(model, inner)
    expected = base.probabilities(flavor, model, inner)
    same(native, outputs[0], labels, tied(expected, np.shape(native)))
    tables = (
        list(zip(expected, outputs[1], strict=True))
        if isinstance(expected, list)
        else []
        if expected is None
        else [(expected, outputs[1])]
    )
    for mine, theirs in tables:
        np.testing.assert_allclose(theirs, mine, atol=2e-4)


def test_there_are_fifty() -> None:
    assert len(CASES) >= 50
    assert len({case.name for case in CASES}) == len(CASES)
