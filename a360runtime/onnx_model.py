"""The model object that prediction scripts and notebooks use."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from a360runtime.inputs import GraphInput, build_feeds, feeds_by_name
from a360runtime.paths import resolve

FEATURE_NAMES_KEY = "a360.feature_names"
THREADS_VARIABLE = "A360_THREADS"


class ONNXModel:
    """An ONNX graph loaded into memory, called like the estimator it came from.

    Input is taken as it comes: a 2-D array, a list of rows, one row, a DataFrame, a dict of columns, records.
    Values are cast to the types the graph wants. ``A360_THREADS`` in the environment sets the number of
    threads of one call (ONNX Runtime's own choice when unset).

    Args:
        path: file of the graph; ``/home/jovyan/...`` is read against HOME where that folder does not exist.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a readable ONNX graph.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = resolve(path)
        if not file.is_file():
            raise FileNotFoundError(f"There is no model file at {file}.")
        self._open(str(file), str(file))

    @classmethod
    def from_bytes(cls, graph: bytes) -> "ONNXModel":
        """Load a serialised graph that is already in memory.

        Args:
            graph: its bytes.
        """
        model = cls.__new__(cls)
        model._open(graph, "memory")
        return model

    def _open(self, source: str | bytes, label: str) -> None:
        self._label = label
        try:
            self._session = onnxruntime.InferenceSession(
                source, sess_options=_session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own per kind of damage
            raise ValueError(f"{label} is not an ONNX model that can be run: {error}") from error
        self._inputs = [GraphInput.of(node) for node in self._session.get_inputs()]
        self._outputs = [str(node.name) for node in self._session.get_outputs()]
        recorded = self._session.get_modelmeta().custom_metadata_map.get(FEATURE_NAMES_KEY)
        self._feature_names: list[str] = json.loads(recorded) if recorded else []

    @property
    def input_names(self) -> list[str]:
        """Names of the graph's inputs."""
        return [graph_input.name for graph_input in self._inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the graph's outputs; the first one is the prediction."""
        return list(self._outputs)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features in training order; empty when the graph does not record them."""
        return list(self._feature_names)

    def predict(self, data: Any, mode: str | None = None) -> Any:
        """Predict.

        Args:
            data: rows of features (see the class); with ``mode="huggingface"`` the tokenizer's dict of
                arrays.
            mode: ``None`` or ``"huggingface"``.

        Returns:
            The graph's first output as an ndarray: labels of shape (rows,) of a classifier, values of shape
            (rows, targets) of a regressor. With ``"huggingface"`` the list of all raw outputs.

        Raises:
            ValueError: the data does not fit the graph.
        """
        if mode is None:
            return self._first_output(data)
        if mode != "huggingface":
            raise ValueError(f"predict knows the mode 'huggingface' only, not {mode!r}.")
        if not isinstance(data, Mapping):
            raise ValueError("With 'huggingface', predict takes the tokenizer's dict of arrays.")
        return list(self._session.run(None, feeds_by_name(data, self._inputs)))

    def transform(self, data: Any) -> np.ndarray[Any, Any]:
        """Transform rows with a preprocessor's graph; input as in :meth:`predict`, output (rows, columns).

        Args:
            data: rows, as :meth:`predict` takes them.
        """
        return self._first_output(data)

    def outputs(self, data: Any) -> list[Any]:
        """Return all that the graph answers: of a classifier labels, then probabilities.

        Args:
            data: rows, as :meth:`predict` takes them.

        Raises:
            ValueError: the data does not fit the graph.
        """
        feeds = build_feeds(data, self._inputs, self._feature_names)
        return list(self._session.run(None, feeds))

    def _first_output(self, data: Any) -> np.ndarray[Any, Any]:
        feeds = build_feeds(data, self._inputs, self._feature_names)
        return np.asarray(self._session.run(self._outputs[:1], feeds)[0])

    def __repr__(self) -> str:
        inputs = ", ".join(f"{i.name} {i.dtype.name}{list(i.shape)}" for i in self._inputs)
        return f"<ONNXModel {Path(self._label).name}: {inputs}>"


def _session_options() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; on its own it says nothing to a user
    threads = os.environ.get(THREADS_VARIABLE, "").strip()
    if threads:
        if not threads.isdigit() or int(threads) < 1:
            raise ValueError(f"{THREADS_VARIABLE} must be a whole number of at least 1, not {threads!r}.")
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
    return options
