"""The certificate of a run: that what is served answers like what was trained, on which rows."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from a360mdk.parity import Difference, Parity

MODEL, PREPROCESSOR, CHAIN = "model", "preprocessor", "chain"
_OPSETS_FIELD, _BYTES_WIRE = 8, 2


@dataclass(frozen=True)
class Check:
    """One comparison of a certificate.

    Attributes:
        part: what was compared: the model, the preprocessor, or the chain of both as it is served.
        form: the ONNX form, for example "float32"; of a chain both.
        parity: the outcome.
        sha256: of the graph compared; None for the chain.
    """

    part: str
    form: str
    parity: Parity
    sha256: str | None = None

    def document(self) -> dict[str, Any]:
        """As the service takes it."""
        parity = self.parity
        return {
            "part": self.part,
            "form": self.form,
            "passed": parity.passed,
            "rows": parity.rows,
            "edge_rows": parity.edge_rows,
            "source": "made" if parity.made else "training",
            "max_difference": parity.max_difference,
            "label_agreement": parity.label_agreement,
            "probability_difference": parity.probability_difference,
            "difference": None if parity.difference is None else parity.difference.document(),
            "sha256": self.sha256,
        }


@dataclass
class Certificate:
    """What was compared before a run was stored.

    Attributes:
        checks: the comparisons: of the preprocessor, the model, and both behind each other, as far as there
            are these.
        opset: version of ONNX' own operators the model's graph asks for.
        versions: of framework, converter, onnx and onnxruntime.
    """

    checks: list[Check] = field(default_factory=list)
    opset: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def served(self) -> Check | None:
        """What callers get: the chain where there is one, else the model."""
        found = {check.part: check for check in self.checks}
        return found.get(CHAIN) or found.get(MODEL)

    @property
    def first_difference(self) -> Difference | None:
        """The first answer that differs, if only between equally probable labels."""
        return next((check.parity.difference for check in self.checks if check.parity.difference), None)

    def document(self) -> dict[str, Any]:
        """As the service takes it."""
        return {
            "opset": self.opset,
            "versions": self.versions,
            "checks": [check.document() for check in self.checks],
        }

    def metadata(self) -> dict[str, Any]:
        """What stands among the run's metadata, and so in ``list_runs()``."""
        served = self.served
        if served is None:
            return {}
        found: dict[str, Any] = {
            "onnx_passed": all(check.parity.passed for check in self.checks),
            "onnx_rows_compared": served.parity.rows,
            "onnx_max_difference": served.parity.max_difference,
            "onnx_label_agreement": served.parity.label_agreement,
            "onnx_probability_difference": served.parity.probability_difference,
            "onnx_opset": self.opset,
            "onnx_versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        }
        return {name: value for name, value in found.items() if value is not None}


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those distributions that are installed, and of onnx and onnxruntime."""
    found = {name: _version(name) for name in (*packages, "onnx", "onnxruntime")}
    return {name: version for name, version in found.items() if version}


@lru_cache
def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def opset(graph: bytes) -> int | None:
    """Read the version of ONNX' own operators off a serialised model, without reading the rest of it.

    Args:
        graph: a ModelProto; its field 8 holds one message per set of operators: the domain in field 1 (empty
            for ONNX' own), the version in field 2.
    """
    found = []
    for number, value in _fields(graph):
        if number == _OPSETS_FIELD and isinstance(value, bytes):
            entry = dict(_fields(value))
            if entry.get(1) in (None, b"", b"ai.onnx"):
                found.append(int(entry.get(2) or 0))
    return max(found, default=None)


def _fields(message: bytes) -> "list[tuple[int, int | bytes]]":
    """Top-level fields of a protocol buffer: numbers, and bytes of what has a length; others are skipped."""
    found: list[tuple[int, int | bytes]] = []
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            found.append((number, value))
        elif wire == _BYTES_WIRE:
            size, position = _varint(message, position)
            if size < 4096:  # the graph itself is long, and not asked for
                found.append((number, bytes(message[position : position + size])))
            position += size
        else:
            position += 8 if wire == 1 else 4
    return found


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
