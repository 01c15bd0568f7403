"""Run in MLflow's own environment: writes the model in its two forms. Arguments: table, graph, folder."""

import sys

import mlflow.onnx
import mlflow.sklearn
import numpy as np
import onnx
from sklearn.ensemble import RandomForestClassifier

table, graph, folder = sys.argv[1:]
data = np.load(table)
forest = RandomForestClassifier(100, max_depth=6, random_state=0).fit(data["features"], data["target"])
mlflow.sklearn.save_model(forest, f"{folder}/mlflow-sklearn", serialization_format="cloudpickle")
options = {"intra_op_num_threads": 1}
mlflow.onnx.save_model(onnx.load(graph), f"{folder}/mlflow-onnx", onnx_session_options=options)
