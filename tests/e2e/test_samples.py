"""The samples of the documents, run as a reader would run them, one after the other."""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from a360mdk import A360AI
from examples.demo import line
from examples.demo.people import API, Person
from tests.support.hub import Platform
from tests.support.samples import ROOT, Sample, samples

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.slow, pytest.mark.timeout(600)]
DOCS = ROOT / "docs"
CELLAR = {"name": "Cellar", "description": "Bottles", "service": "sqlite", "groups": ["Data Scientists"]}


@pytest.fixture
def reader(
    running: Platform, people: dict[str, Person], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder somebody works in who follows the documents."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("A360_URL", running.url)
    monkeypatch.setenv("A360_TOKEN", people["scientist"].token)
    monkeypatch.setenv("A360_REVIEWER_TOKEN", people["reviewer"].token)
    rng = np.random.default_rng(3)
    wine = pd.DataFrame({name: rng.normal(5, 2, 120).round(2) for name in ("alcohol", "acidity", "colour")})
    wine["quality"] = (wine["alcohol"] > wine["acidity"]).astype(int)
    wine.to_csv("wine.csv", index=False)
    with closing(sqlite3.connect("cellar.db")) as cellar:
        cellar.executescript("CREATE TABLE bottles (grape TEXT); INSERT INTO bottles VALUES ('Riesling')")
    for name in ("exploration", "preparation", "training"):
        Path(f"{name}.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return tmp_path


def is_script(sample: Sample) -> bool:
    """Whether a sample is the deployment script and not something to run."""
    return sample.text.startswith("# predict.py")


def commit_script(script: Sample, folder: Path) -> str:
    model = folder / "model"
    model.mkdir()
    (model / "predict.py").write_text(script.text)
    shutil.copy(ROOT / "examples" / "breast-cancer-screening" / "model" / "requirements.txt", model)
    return line.commit_folder(model, folder / "model.git")


@pytest.mark.long
def test_what_data_scientists_and_callers_read_works(
    running: Platform, people: dict[str, Person], reader: Path, monkeypatch: pytest.MonkeyPatch
):
    blocks = samples(DOCS / "data-scientists.md", "python")
    (script,) = filter(is_script, blocks)
    admin = Person.sign_in(running.url, "admin", running.password)
    cellar = admin.api("POST", "/credentials", **CELLAR, inputs={"database": str(reader / "cellar.db")})
    monkeypatch.setenv("A360_REPOSITORY", commit_script(script, reader))
    names: dict[str, Any] = {}
    for block in blocks:
        if "project" in names and "a360ai" not in names:
            project = names["project"]["id"]
            names["a360ai"] = A360AI(
                api_url=running.url + API, token=people["scientist"].token, project_id=project
            )
        if "capture" in block.text:
            # As in a kernel of the workspace, which is told where its own server is.
            monkeypatch.setenv("A360_SERVER_URL", running.url + names["workspace"]["url"])
            monkeypatch.setenv("A360_SERVER_TOKEN", people["scientist"].token)
        if not is_script(block):
            exec(block.compiled(), names)
    assert names["capture"].state == "finished"
    admin.api("DELETE", f"/credentials/{cellar['id']}")
    admin.close()
    assert names["bottles"].to_dict("records") == [{"grape": "Riesling", "bottles": 1}]
    assert {name.partition("@")[0] for name in names["runs"].dataset.dropna()} == {"wine.csv"}
    line.stop_workspace(people["scientist"], names["workspace"])
    assert names["workspace"]["status"] == "running"
    assert names["endpoint"]["status"] == "running"

    monkeypatch.setenv("A360_ENDPOINT", names["endpoint"]["url"])
    monkeypatch.setenv("A360_KEY", names["api_key"])
    called: dict[str, Any] = {}
    for block in samples(DOCS / "endpoints.md", "python"):
        exec(block.compiled(), called)
    assert called["answer"].json() == {"prediction": 1}
    (curl,) = samples(DOCS / "endpoints.md", "bash")
    done = subprocess.run(["bash", "-ec", curl.text], capture_output=True, text=True)
    assert done.stdout == called["answer"].text
    assert [sample.text.strip() for sample in samples(DOCS / "endpoints.md", "json")] == [done.stdout.strip()]
    line.withdraw(people["scientist"], {"id": names["quality"]["id"]})


def test_what_administrators_read_works(running: Platform, reader: Path, monkeypatch: pytest.MonkeyPatch):
    admin = Person.sign_in(running.url, "admin", running.password)
    monkeypatch.setenv("A360_ADMIN_TOKEN", admin.token)
    names: dict[str, Any] = {}
    blocks = samples(DOCS / "admins.md", "python")
    *before, taking_away, waivers = blocks
    for block in before:
        exec(block.compiled(), names)
    listed = admin.api("GET", "/credentials")["items"]
    assert {"Data lake", "Orders"} <= {credential["name"] for credential in listed}
    assert "example-secret" not in str(listed)
    exec(taking_away.compiled(), names)
    exec(waivers.compiled(), names)
    assert list(admin.listing("/waivers")) == []
    (waiver,) = admin.api("GET", "/waivers?past=true")["items"]
    assert (waiver["created_by"], waiver["removed_by"]) == ("admin", "admin")
    admin.api("DELETE", f"/credentials/{names['database']['id']}")
    assert "Data lake" not in [credential["name"] for credential in admin.listing("/credentials")]
    admin.close()
