"""Run in BentoML's own environment: the model as its documentation writes a service."""

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Churn:
    """Answers one row."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api
    def predict(self, row: dict[str, Any]) -> float:
        """Predict."""
        values = np.array([list(row.values())], dtype=np.float32)
        return float(self.session.run(["label"], {"X": values})[0][0])
