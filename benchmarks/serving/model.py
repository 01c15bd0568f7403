"""The model all sides serve: a RandomForest(100, depth 6) on a table like that of a phone company's churn."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from a360_hub_service.backends.images import builder_class
from tests.support import endpoints

CHOICES = {
    "gender": 2, "SeniorCitizen": 2, "Partner": 2, "Dependents": 2, "tenure": 73, "MobileOnRecord": 2,
    "AddressOnRecord": 3, "LinkedAccount": 3, "TwoFactorAuth": 3, "OnlineBackup": 3, "DeviceProtection": 3,
    "TechSupport": 3, "NewsletterSubscribe": 3, "PaperlessBilling": 2, "Contract": 3, "LastLogInOneMonth": 2,
    "Generation": 4,
}  # fmt: skip
"""Columns, and how many values each has once it is encoded."""
COLUMNS = [*CHOICES, "MonthlyCharges", "TotalCharges"]
ROWS = 7043

SCRIPT = """\
import json

import numpy as np


def predict(artifact_list, payload):
    row = np.array(list(json.loads(payload).values()), dtype=float).reshape(1, -1)
    return float(artifact_list[0].predict(row)[0])
"""


@dataclass(frozen=True)
class Model:
    """The files of the model, one row to predict, and what the native model says about it."""

    onnx: Path
    table: Path
    row: dict[str, float]
    prediction: float


def make_model(folder: Path) -> Model:
    """Train, and write the graph and the table (for sides that keep the native model)."""
    random = np.random.default_rng(0)
    columns = [random.integers(0, count, ROWS).astype(float) for count in CHOICES.values()]
    monthly = random.uniform(18, 119, ROWS).round(2)
    features = np.column_stack([*columns, monthly, (monthly * columns[4]).round(2)])
    target = (monthly / 119 - columns[4] / 73 + random.normal(0, 0.2, ROWS) > 0.1).astype(int)
    forest = RandomForestClassifier(100, max_depth=6, random_state=0).fit(features, target)
    graph = to_onnx(forest, np.zeros((1, len(COLUMNS)), dtype=np.float32), options={"zipmap": False})
    onnx, table = folder / "model.onnx", folder / "table.npz"
    onnx.write_bytes(graph.SerializeToString())
    np.savez(table, features=features, target=target)
    row = dict(zip(COLUMNS, features[0].tolist(), strict=True))
    return Model(onnx, table, row, float(forest.predict(features[:1])[0]))


def make_package(home: Path, model: Model, wrapper: str) -> Path:
    """Package the model as the platform does, with its input checked; the bundle's folder."""
    repo = endpoints.write_files(home / "repo", {"predict.py": SCRIPT, "requirements.txt": "numpy\n"})
    manifest = {
        "project": "Benchmark",
        "model_name": "churn",
        "input_signature": ", ".join(f"{name} float" for name in COLUMNS),
        "feature_names": COLUMNS,
    }
    request = endpoints.package_request(
        model.onnx,
        repo,
        slug="churn",
        manifest=manifest,
        wrapper=wrapper,
        validation_input=json.dumps(model.row),
    )
    return Path(builder_class("bundle")(home=str(home)).build(request, lambda line: None).reference)
