"""Certificates of runs: that what would be served answers like what was trained.

The kit compares when it closes a run and says what it found. Nothing here opens a model; what is checked is
that a certificate is about the files that the run stored, and that one stands behind all that is packaged.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from ..entities import Model, Run
from ..errors import Conflict, Invalid

MODEL, PREPROCESSOR = "model", "preprocessor"
CERTIFIED = {MODEL: "trained_model", PREPROCESSOR: "preprocessor"}
"""Parts of a certificate, and the artifacts they are about."""

_RUN_AGAIN = (
    "Send the model back to Draft, run its experiment again with the present kit and train_features, and "
    "choose that run as the final one."
)


class Stored(Protocol):
    """What is asked of an artifact."""

    @property
    def name(self) -> str:
        """Its name in the run."""

    @property
    def sha256(self) -> str:
        """Of its content."""


def check(certificate: dict[str, Any], artifacts: Sequence[Stored]) -> None:
    """See that a certificate is about a run's artifacts.

    Raises
    ------
    Invalid
        If a part stands there twice, or is about a file that the run did not store.
    """
    parts = [entry["part"] for entry in certificate["checks"]]
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice:
        raise Invalid.field("certificate", f"the part “{twice[0]}” stands there twice")
    stored = {artifact.name: artifact.sha256 for artifact in artifacts}
    for entry in certificate["checks"]:
        name = CERTIFIED.get(entry["part"])
        if name is not None and stored.get(name) != entry["sha256"]:
            raise Invalid.field(
                "certificate",
                f"its {entry['part']} is not the artifact “{name}” of the run",
                hint="Compare the files that the run stores, and send their SHA-256.",
            )


def require(model: Model, run: Run) -> None:
    """Refuse to package a run whose answers nobody has compared, or that answers differently.

    Raises
    ------
    Conflict
        Saying what is missing, or which row and column differ.
    """
    certificate = run.certificate
    if certificate is None:
        raise Conflict(
            f"The final run of “{model.model_name}” {model.version} has no certificate: nobody has compared "
            "the answers of its ONNX model with those of the model that was trained.",
            hint=_RUN_AGAIN,
        )
    for entry in certificate["checks"]:
        if not entry["passed"]:
            raise Conflict(_what_differs(model, entry), hint=_RUN_AGAIN)
    compared = {entry["part"] for entry in certificate["checks"]}
    stored = {artifact.name for artifact in run.artifacts}
    missing = [part for part, name in CERTIFIED.items() if name in stored and part not in compared]
    if missing:
        raise Conflict(
            f"The certificate of the final run says nothing about its {missing[0]}.", hint=_RUN_AGAIN
        )


def _what_differs(model: Model, entry: dict[str, Any]) -> str:
    what = {"chain": "preprocessor and model behind each other"}.get(entry["part"], f"the {entry['part']}")
    found = entry["difference"] or {}
    where = (
        f"{found['row']}, {found['column']}: {found['native']} when trained, {found['onnx']} when served."
        if found
        else "The certificate does not say where."
    )
    return (
        f"The final run of “{model.model_name}” {model.version} would answer differently when served "
        f"({what}). {where}"
    )
