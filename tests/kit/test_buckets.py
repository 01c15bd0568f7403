"""The same kit on S3: moto here, a real server where A360_TEST_S3_ENDPOINT names one."""

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from a360mdk import A360AI, FileSystem
from a360mdk.exceptions import DatasetError, FileSystemError, RunError
from tests.kit.conftest import Workspace
from tests.support.s3 import REGION, S3Server, moto_server, real_server

Table = tuple[pd.DataFrame, "pd.Series[Any]"]


@pytest.fixture(scope="module", params=["moto", pytest.param("real", marks=pytest.mark.s3)])
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    if request.param == "moto":
        with moto_server() as server:
            yield server
        return
    found = real_server()
    if found is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no server")
    yield found


@pytest.fixture
def bucket(s3: S3Server) -> FileSystem:
    name = f"kit-{secrets.token_hex(6)}"
    s3.client().create_bucket(Bucket=name)
    return FileSystem(
        "aws",
        name,
        volume_region=REGION,
        access_key=s3.access_key,
        secret_access_key=s3.secret_key,
        endpoint_url=s3.url,
    )


@pytest.mark.row("M146", "M149", "M156", "M157", "M158", "M159", "M160", "M161")
def test_the_file_system_of_a_bucket(bucket: FileSystem, s3: S3Server, tmp_path: Any, capsys: Any) -> None:
    assert (bucket.local, bucket.region, bucket.access_key) == (False, REGION, s3.access_key)
    frame = pd.DataFrame({"a": [1, 2]})
    bucket.write_dataset(frame, "folder/x.parquet")
    with bucket.get_object("folder/x.parquet") as source:
        assert pd.read_parquet(source).equals(frame)
    content = np.random.default_rng(0).bytes(12_000_000)
    (tmp_path / "big.bin").write_bytes(content)
    stored = bucket.write_file_to_remote(tmp_path / "big.bin", "big.bin", {"owner": "me"})
    assert stored.size == len(content)
    head = s3.client().head_object(Bucket=bucket.bucket, Key="big.bin")
    assert (head["ContentLength"], head["Metadata"].get("owner")) == (len(content), "me")
    bucket.write_file_from_remote("big.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    shown = capsys.readouterr().err
    assert "Upload big.bin" in shown
    assert "Download big.bin" in shown
    assert list(bucket.list_bucket().base_name) == ["big.bin", "folder"]
    assert list(bucket.list_bucket(recursive=True).base_name) == ["big.bin", "folder", "x.parquet"]
    bucket.delete_file("big.bin")
    bucket.delete_dir_contents("folder")
    assert not bucket.is_file("big.bin")
    assert not bucket.is_file("folder/x.parquet")


def test_a_write_that_fails_leaves_no_object(bucket: FileSystem) -> None:
    def interrupted() -> None:
        with bucket.writer("x.bin") as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not bucket.is_file("x.bin")


@pytest.mark.row("M158")
def test_what_a_store_refuses(bucket: FileSystem, s3: S3Server, request: pytest.FixtureRequest) -> None:
    with pytest.raises(FileSystemError, match="code 100"):
        bucket.get_object("nothing.csv")
    missing = FileSystem(
        "aws", f"kit-{secrets.token_hex(6)}", volume_region=REGION, access_key=s3.access_key,
        secret_access_key=s3.secret_key, endpoint_url=s3.url,
    )  # fmt: skip
    with pytest.raises(FileSystemError, match="code 100"):
        missing.list_bucket()
    if "real" not in request.node.name:
        return  # moto takes any key
    wrong = FileSystem(
        "aws", bucket.bucket, volume_region=REGION, access_key=s3.access_key,
        secret_access_key="wrong", endpoint_url=s3.url,
    )  # fmt: skip
    with pytest.raises(FileSystemError, match="core 15"):
        wrong.list_bucket()


@pytest.fixture
def in_bucket(workspace: Workspace, s3: S3Server) -> Workspace:
    """A workspace whose default data repo is a bucket."""
    with workspace.service.client("admin") as admin:
        form = {
            "name": f"S3 {secrets.token_hex(4)}",
            "description": "Test",
            "groups": ["Data Scientists"],
            "inputs": s3.inputs(),
        }
        account = admin.post("/credentials", json=form).json()
    repo = {
        "name": "bucket", "description": "", "volume_account": account["id"], "volume_option": "new",
        "volume_name": f"kit-{secrets.token_hex(6)}", "volume_region": REGION,
    }  # fmt: skip
    answer = workspace.client.post(f"/projects/{workspace.project['id']}/data-repos", json=repo)
    assert answer.status_code == 201, answer.text
    workspace.ai.set_default_datarepo("bucket")
    return workspace


@pytest.mark.row("M095", "M096", "M097", "M098", "M108")
def test_a_project_is_set_up_in_the_documented_order(workspace: Workspace, s3: S3Server) -> None:
    bucket = f"kit-{secrets.token_hex(6)}"
    mark = secrets.token_hex(4)
    # Step 1: valid credentials. What the store refuses is refused here.
    form = {
        "name": f"S3 {mark}", "description": "Team", "groups": ["Data Scientists"], "inputs": s3.inputs(),
    }  # fmt: skip
    with workspace.service.client("admin") as admin:
        account = admin.post("/credentials", json=form).json()
        assert admin.post(f"/credentials/{account['id']}/test").json()["ok"] is True
    # Steps 2 to 4: the project, its bucket, and the data repo that ties them together.
    s3.client().create_bucket(Bucket=bucket)
    s3.client().put_object(Bucket=bucket, Key="x.csv", Body=b"a,b\n1,2\n")
    repo = {
        "name": "Team bucket", "volume_account": account["id"], "volume_option": "existing",
        "volume_name": bucket, "volume_region": REGION,
    }  # fmt: skip
    body = {"name": f"Ordered {mark}", "customer_name": "Acme", "data_repo": repo}
    answer = workspace.client.post("/projects", json=body)
    assert answer.status_code == 201, answer.text
    # Step 5 is a workspace of the project (tests/integration/test_hub_workspaces.py); its kernels see this.
    ai = A360AI(project_id=answer.json()["id"])
    assert ai.list_datarepos().to_dict("records") == [
        {"name": "Team bucket", "description": "", "storage_provider": "aws"}
    ]
    assert (ai.datarepo.volume_name, ai.datarepo.volume_region) == (bucket, REGION)
    assert isinstance(ai.datarepo.filesystem, FileSystem)
    assert ai.load_dataset("x.csv").to_dict("records") == [{"a": 1, "b": 2}]


@pytest.mark.row("F038", "M015", "M029", "M031", "M074")
def test_data_sets_and_runs_in_a_bucket(in_bucket: Workspace, table: Table) -> None:
    ai = in_bucket.ai
    features, target = table
    assert ai.datarepo.storage_provider == "aws"
    assert ai.write_dataset(features, "X") is True
    with pytest.raises(DatasetError, match="already has"):
        ai.write_dataset(features, "X")
    pd.testing.assert_frame_equal(ai.load_dataset("X.parquet"), features)
    ai.get_file("X.parquet")
    assert (in_bucket.home / "X.parquet").is_file()
    model = ai.get_or_create_model("m")
    experiment = model.get_or_create_experiment(
        "e", "sklearn", features, target, enable_drift_monitoring=True
    )
    with experiment.run_experiment() as run:
        fitted = LogisticRegression(max_iter=3000).fit(features, target)
        run.log_model(fitted)
    assert {artifact.name for artifact in run.artifacts} == {
        "trained_model",
        "trained_model_native",
        "baseline",
    }
    model.set_final_run(experiment, run.id)
    np.testing.assert_array_equal(
        model.get_artifact("trained_model").predict(features), fitted.predict(features)
    )
    np.testing.assert_array_equal(
        model.get_artifact("trained_model_native").predict(features), fitted.predict(features)
    )
    assert list(model.get_artifact("baseline")) == list(features.columns)
    assert list(ai.list_datasets().base_name) == ["X.parquet"]
    fitted.handle = open  # picklable; what follows is not
    fitted.socket = (number for number in ())
    with pytest.raises(RunError, match="native copy"), experiment.run_experiment() as failing:
        failing.log_model(fitted)
    prefix = in_bucket.client.get(f"/runs/{failing.id}").json()["artifact_prefix"]
    listed = ai.filesystem.list_bucket("Projects", recursive=True, exclude_projects=False)
    assert not any(
        prefix in path and kind == "file" for path, kind in zip(listed.path, listed["type"], strict=True)
    )
