"""Powers of columns as ONNX, also with float64 input, which skl2onnx 1.20 does not manage."""

from typing import Any

import numpy

from a360mdk.flavors.sklearn_steps import INT64, Writer


def _width_of(operator: Any, width: int) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    double = any(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
    kind = DoubleTensorType if double else FloatTensorType
    operator.outputs[0].type = kind([operator.inputs[0].type.shape[0], width])


def polynomial_shape(operator: Any) -> None:
    """Say how wide the output of PolynomialFeatures is."""
    _width_of(operator, len(operator.raw_operator.powers_))


def polynomial(scope: Any, operator: Any, container: Any) -> None:
    """Write PolynomialFeatures: products of as many columns as its degree, one of them all ones."""
    write = Writer(scope, operator, container)
    rows, powers = write.rows(), operator.raw_operator.powers_
    ones = powers.shape[1]
    pads = write.constant([0, 0, 0, 1], INT64)
    extended = write.node("Pad", [rows, pads, write.constant(1.0, write.number)])
    factors = [[column for column, power in enumerate(row) for _ in range(power)] for row in powers]
    degree = max(max(map(len, factors)), 1)
    product = ""
    for place in range(degree):
        picked = [row[place] if place < len(row) else ones for row in factors]
        factor = write.column(extended, picked)
        product = write.node("Mul", [product, factor]) if product else factor
    write.beside([product], write.number)


def power_shape(operator: Any) -> None:
    """Say how wide the output of PowerTransformer is."""
    _width_of(operator, len(operator.raw_operator.lambdas_))


def power(scope: Any, operator: Any, container: Any) -> None:
    """Write PowerTransformer: each column to a power of its own, then scaled."""
    write, transformer = Writer(scope, operator, container), operator.raw_operator
    rows, exponents = write.rows(), numpy.asarray(transformer.lambdas_, dtype=float)
    if transformer.method == "box-cox":
        made = _raised(write, rows, exponents)
    else:
        nought, one = (write.constant(value, write.number) for value in (0.0, 1.0))
        below = write.node("Less", [rows, nought])
        upper = write.node("Add", [write.node("Where", [below, nought, rows]), one])
        lower = write.node("Add", [write.node("Where", [below, write.node("Neg", [rows]), nought]), one])
        negative = write.node("Neg", [_raised(write, lower, 2 - exponents)])
        made = write.node("Where", [below, negative, _raised(write, upper, exponents)])
    if transformer.standardize:
        scaler = transformer._scaler
        made = write.node("Sub", [made, write.constant(scaler.mean_[None], write.number)])
        made = write.node("Div", [made, write.constant(scaler.scale_[None], write.number)])
    write.beside([made], write.number)


def _raised(write: Writer, base: str, exponents: Any) -> str:
    """(base ^ exponent - 1) / exponent, by column; of an exponent of nought the logarithm."""
    flat = numpy.abs(exponents) < 2.220446049250313e-16  # below it, SciPy and scikit-learn take the logarithm
    safe = write.constant(numpy.where(flat, 1.0, exponents)[None], write.number)
    one = write.constant(1.0, write.number)
    raised = write.node("Div", [write.node("Sub", [write.node("Pow", [base, safe]), one]), safe])
    if not flat.any():
        return raised
    mask = write.node("Cast", [write.constant(flat[None].astype(int), INT64)], to=9)
    return write.node("Where", [mask, write.node("Log", [base]), raised])
