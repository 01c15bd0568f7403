"""Certificates as the kit makes them, for runs that tests finish by hand."""

from collections.abc import Sequence
from typing import Any

PARTS = {"trained_model": "model", "preprocessor": "preprocessor"}


def certificate(artifacts: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A certificate that passed, about the model and the preprocessor among these artifacts.

    Parameters
    ----------
    artifacts
        As the API takes them.
    changes
        To each of its checks.
    """
    checks = [
        {
            "part": PARTS[artifact["name"]],
            "form": "float32",
            "passed": True,
            "rows": 111,
            "edge_rows": 11,
            "source": "training",
            "max_difference": 1e-7,
            "label_agreement": None,
            "probability_difference": None,
            "difference": None,
            "sha256": artifact["sha256"],
        }
        | changes
        for artifact in artifacts
        if artifact["name"] in PARTS
    ]
    versions = {"scikit-learn": "1.9.1", "skl2onnx": "1.20.0", "onnx": "1.23.2", "onnxruntime": "1.32.0"}
    return {"opset": 18, "versions": versions, "checks": checks}
