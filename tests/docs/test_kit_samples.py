"""The samples of the page about the kit, run one after the other as in a notebook of a workspace."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tests.kit.conftest import Workspace, make_workspace
from tests.support.jupyter import Server
from tests.support.samples import ROOT, samples
from tests.support.service import ServiceProcess

PAGE = ROOT / "docs" / "notebook-kit.md"


@pytest.fixture
def workspace(
    fresh_service: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    made = make_workspace(fresh_service, tmp_path / "home", monkeypatch)
    yield made
    made.close()


@pytest.mark.row("M084", "M085", "M086", "M087", "M173")
def test_every_sample_works(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect("cellar.db")) as cellar:
        cellar.executescript("CREATE TABLE bottles (grape TEXT); INSERT INTO bottles VALUES ('Riesling')")
    cells = [nbformat.v4.new_code_cell("print(max_depth)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "training.ipynb")
    random = np.random.default_rng(3)
    df = pd.DataFrame({name: random.normal(5, 2, 120) for name in ("alcohol", "acidity")})
    target = (df.alcohol - df.acidity).rename("quality")
    workspace.ai.write_dataset(df, "X")
    model = workspace.ai.get_or_create_model("quality")
    experiment = model.get_or_create_experiment("Random forest", "sklearn", df, target)
    with experiment.run_experiment() as run:
        run.log_model(LinearRegression().fit(df, target))
    model.set_final_run(experiment, str(run.id))
    names: dict[str, Any] = {
        "a360ai": workspace.ai, "df": df, "X_train": df, "y_train": target, "model": model,
    }  # fmt: skip
    server = Server(workspace.home)
    monkeypatch.setenv("A360_SERVER_URL", server.url)
    monkeypatch.setenv("A360_SERVER_TOKEN", "secret")
    try:
        blocks = samples(PAGE, "python")
        for block in blocks:
            exec(block.compiled(), names)
    finally:
        server.stop()
    assert len(blocks) == 5
    assert names["mine"].query("SELECT * FROM bottles").grape.tolist() == ["Riesling"]
    assert names["again"].state == "finished"
    assert "6" in Path("training-executed.ipynb").read_text()
    stored = workspace.client.get(f"/experiments/{experiment.id}").json()
    assert list(stored["baseline"]) == ["alcohol", "acidity"]
    assert list(stored["baseline"]["alcohol"]) == ["mean", "std", "bins", "frequencies"]
    assert list(stored["target_baseline"]) == ["target"]
    assert "already has" in capsys.readouterr().out  # what the sample about errors prints
