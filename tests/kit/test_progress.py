"""Long work shows that it goes on, short work shows nothing."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from a360mdk import progress
from tests.kit.conftest import Workspace


@pytest.mark.parametrize(("seconds", "seen"), [(0.0, True), (3600.0, False)])
def test_writing_closing_and_listing(
    workspace: Workspace, monkeypatch: Any, capsys: Any, seconds: float, seen: bool
) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER", seconds)
    features = np.arange(20.0).reshape(10, 2)
    model = workspace.ai.get_or_create_model("tides")
    experiment = model.get_or_create_experiment("Least squares", "sklearn", features, features[:, 0])
    workspace.ai.write_dataset(pd.DataFrame(features), "features.csv")
    assert ("Write features.csv" in capsys.readouterr().err) == seen
    with experiment.run_experiment() as run:
        run.log_model(LinearRegression().fit(features, features[:, 0]))
    assert ("Close the run: model" in capsys.readouterr().err) == seen
    experiment.list_runs()
    assert ("List runs" in capsys.readouterr().err) == seen


def test_a_bar_appears_late_and_counts_from_the_beginning(monkeypatch: Any, capsys: Any) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress.Meter("Copy", 100, " files") as meter:
        meter.advance(40)
        assert capsys.readouterr().err == ""
        now = 1.0
        meter.advance(20)
        assert " 60/100 " in capsys.readouterr().err
        meter.advance(40, "Check")
    assert capsys.readouterr().err.endswith("\r")  # and goes again
