"""Data repos of a project: listed, described, and chosen for data and artifacts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from a360_hub_service.entities import DataRepo as Repo
from a360mdk import DataRepo, FileSystem
from a360mdk.exceptions import DataRepoError
from tests.kit.conftest import Workspace

FRAME = pd.DataFrame({"id": ["a", "b", "c"], "value": [1.5, 2.5, -1.0], "count": [1, 2, 3]})


@pytest.mark.row(
    "M018", "M019", "M100", "M101", "M102", "M103", "M104", "M105", "M106", "M107", "M108", "M109"
)
def test_data_repos(workspace: Workspace) -> None:
    ai = workspace.ai
    repos = ai.list_datarepos()
    assert list(repos.columns) == ["name", "description", "storage_provider"]
    assert (repos["name"][0], repos.shape[0]) == (f"{workspace.project['name']} data"[:64], 1)
    assert repos["storage_provider"][0] == "local"
    first = ai.datarepo
    form = {
        "name": "second", "description": "more", "volume_account": "local",
        "volume_option": "new", "volume_name": f"v-{workspace.project['id']}",
    }  # fmt: skip
    answer = workspace.client.post(f"/projects/{workspace.project['id']}/data-repos", json=form)
    assert answer.status_code == 201, answer.text
    listed = {row["name"]: row for row in ai.list_datarepos().to_dict("records")}
    assert listed["second"] == {"name": "second", "description": "more", "storage_provider": "local"}
    assert ai.datarepo is first
    assert ai.set_default_datarepo(datarepo_name="second") is None  # type: ignore[func-returns-value]
    repo = ai.datarepo
    assert (repo.name, repo.description, repo.storage_provider) == ("second", "more", "local")
    assert (repo.id, repo.a360ai) == (answer.json()["id"], ai)
    assert (repo.volume_name, repo.volume_region) == (form["volume_name"], None)
    assert repo.volume_account == answer.json()["volume_account"]
    assert isinstance(repo.filesystem, FileSystem)
    ai.write_dataset(FRAME, "here.csv")
    assert (Path(repo.filesystem.bucket) / "here.csv").is_file()
    with pytest.raises(DataRepoError, match="second"):
        ai.set_default_datarepo("third")
    assert repo.mutable == ()
    with pytest.raises(DataRepoError, match="cannot be changed"):
        repo.name = "other"
    plain = DataRepo()
    unset = ("id", "name", "description", "volume_account", "volume_region", "a360ai")
    assert {getattr(plain, name) for name in unset} == {None}
    assert (plain.storage_provider, plain.volume_name) == ("local", "/tmp")
    assert isinstance(plain.filesystem, FileSystem)
    assert (plain.filesystem.local, plain.filesystem.bucket) == (True, "/tmp")
    for name in DataRepo.fields:
        with pytest.raises(DataRepoError, match=f"{name} cannot be changed"):
            setattr(plain, name, "other")


@pytest.mark.row("M015", "M019")
def test_data_and_artifacts_are_together_in_the_default_repo(workspace: Workspace) -> None:
    ai = workspace.ai
    before = workspace.repo_folder
    form = {
        "name": "both", "description": "", "volume_account": "local",
        "volume_option": "new", "volume_name": f"v-{workspace.project['id']}",
    }  # fmt: skip
    answer = workspace.client.post(f"/projects/{workspace.project['id']}/data-repos", json=form)
    assert answer.status_code == 201, answer.text
    ai.set_default_datarepo("both")
    ai.write_dataset(FRAME, "X")
    X, y = FRAME[["value"]], FRAME["count"]
    experiment = ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn", X, y)
    with experiment.run_experiment() as run:
        run.log_model(LinearRegression().fit(X, y))
    assert workspace.repo_folder != before
    assert {*(artifact.file_key for artifact in run.artifacts), "X.parquet"} <= set(workspace.files())
    assert not any(path.is_file() for path in before.rglob("*"))
    # What runs stored earlier is found where it is, whatever is the default later.
    ai.set_default_datarepo(f"{workspace.project['name']} data"[:64])
    model = ai.get_or_create_model("m")
    model.set_final_run(experiment, run.id)
    np.testing.assert_allclose(model.get_artifact("trained_model").predict(X).ravel(), y, atol=1)


@pytest.mark.row("M018")
def test_no_data_repo_is_an_empty_list(workspace: Workspace) -> None:
    # The API keeps the last data repo of a project; the kit copes without any all the same.
    database = workspace.service.database()
    with database.session() as session:
        session.delete(session.get_one(Repo, workspace.ai.datarepo.id))
    database.close()
    repos = workspace.ai.list_datarepos()
    assert (repos.shape[0], list(repos.columns)) == (0, ["name", "description", "storage_provider"])
    with pytest.raises(DataRepoError, match="no default data repo"):
        workspace.ai.list_datasets()
