"""Closing a run against the bare cost of converting and writing the same artifacts.

Both sides start with a fitted RandomForest(100, depth 6) and end with its ONNX graph, its native copy, a
baseline and a notebook in a folder. The bare side calls skl2onnx and joblib and writes files. The other is
the end of a run's ``with`` block against a real service, with checks, checksums, comparison of answers and
registration.

    python benchmarks/bench_close_run.py [--rounds 7]
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))

from a360mdk import A360AI
from tests.support.service import ServiceProcess, project_form

COLUMNS = 26


def bare(forest: Any, features: pd.DataFrame, notebook: Path, folder: Path) -> None:
    """Convert and write, and nothing else."""
    folder.mkdir()
    graph = convert_sklearn(
        forest,
        initial_types=[("X", FloatTensorType([None, COLUMNS]))],
        options={id(forest): {"zipmap": False}},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    (folder / "trained_model.onnx").write_bytes(graph.SerializeToString())
    with (folder / "trained_model_native.joblib").open("wb") as file:
        joblib.dump(forest, file)
    baseline = {n: {"mean": float(features[n].mean()), "std": float(features[n].std())} for n in features}
    (folder / "baseline.json").write_text(json.dumps(baseline))
    shutil.copyfile(notebook, folder / "notebook.ipynb")


def close(experiment: Any, forest: Any) -> float:
    """Close a run; seconds from the end of its block on."""
    run = experiment.run_experiment()
    run.__enter__()
    run.log_model(forest)
    started = time.perf_counter()
    run.__exit__(None, None, None)
    return time.perf_counter() - started


def measure(service: ServiceProcess, home: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of both sides, taken in turn."""
    with service.client("scientist") as client:
        project = client.post("/projects", json=project_form("Benchmark", "benchmark-close")).json()
    ai = A360AI(api_url=service.api_url, token="test-scientist", project_id=project["id"])
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(4000, COLUMNS)), columns=[f"f{n}" for n in range(COLUMNS)])
    target = (features.f0 + features.f1 > 0).astype(int)
    forest = RandomForestClassifier(100, max_depth=6, random_state=0).fit(features, target)
    notebook = home / "train.ipynb"
    cells = [{"cell_type": "markdown", "metadata": {}, "source": ["text\n"] * 200}]
    notebook.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    with contextlib.redirect_stdout(io.StringIO()):
        experiment = ai.get_or_create_model("forest").get_or_create_experiment(
            "close",
            "sklearn",
            features,
            target,
            enable_drift_monitoring=True,
            model_training_file=str(notebook),
        )
    bares, closes = [], []
    for number in range(rounds + 1):
        started = time.perf_counter()
        bare(forest, features, notebook, home / f"bare{number}")
        seconds = time.perf_counter() - started
        closed = close(experiment, forest)
        if number:  # the first round imports and warms up
            bares.append(seconds)
            closes.append(closed)
    return bares, closes


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["HOME"] = folder
        service = ServiceProcess(home / "platform").start()
        try:
            bares, closes = measure(service, home, rounds)
        finally:
            service.stop()
    for name, taken in (("bare conversion and writing", bares), ("closing a run", closes)):
        median, best = statistics.median(taken) * 1000, min(taken) * 1000
        print(f"{name:28} {median:7.1f} ms (median of {rounds}, best {best:.1f})")
    ratio = statistics.median(close / bare for bare, close in zip(bares, closes, strict=True))
    print(f"{'ratio, median of the rounds':28} {ratio:7.2f} x (aim 1.5)")


if __name__ == "__main__":
    main()
