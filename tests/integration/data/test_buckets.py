"""Data repos in buckets, through the API."""

import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.data import MEGABYTE, new_name, problem, repo_form, repos
from tests.support.s3 import S3Server, moto_server
from tests.support.service import ServiceProcess, project_form


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.mark.row("F178", "F181", "F182", "F202", "F217", "F219")
def test_a_bucket_is_a_data_repo(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any], moto: S3Server
) -> None:
    with service.client("admin") as admin:
        form = {
            "name": new_name("S3"),
            "description": "Test",
            "groups": ["Data Scientists"],
            "inputs": moto.inputs(),
        }
        account = admin.post("/credentials", json=form).json()
    accounts = client.get("/volume-accounts").json()["items"]
    assert {"id": account["id"], "storage_provider": "aws"}.items() <= accounts[-1].items()
    path, volume = f"/projects/{project['id']}/data-repos", new_name("bucket")
    wrong = repo_form(volume_account=account["id"], volume_name=volume, volume_region="eu-west-1")
    assert problem(client.post(path, json=wrong), 422)["errors"][0]["field"] == "volume_region"
    form = repo_form(volume_account=account["id"], volume_name=volume, volume_region="us-east-1")
    answer = client.post(path, json=form)
    assert answer.status_code == 201, answer.text
    repo = answer.json()
    assert (repo["storage_provider"], repo["volume_region"]) == ("aws", "us-east-1")
    content = hashlib.shake_128(b"bucket").digest(9 * MEGABYTE)
    files = f"/data-repos/{repo['id']}/files"
    assert client.put(f"{files}/folder/data.bin", content=content).status_code == 201
    stored = moto.client().get_object(Bucket=volume, Key="folder/data.bin")["Body"].read()
    assert stored == content
    assert client.get(f"{files}/folder/data.bin").content == content
    assert client.get(f"{files}/folder/data.bin", headers={"Range": "bytes=-5"}).content == content[-5:]
    assert [item["key"] for item in client.get(files).json()["items"]] == ["folder"]
    access = client.get(f"/data-repos/{repo['id']}/access").json()
    assert (access["access_key"], access["endpoint_url"]) == (moto.access_key, moto.url)
    again = repo_form(volume_account=account["id"], volume_name=volume, volume_option="existing")
    problem(client.post(path, json=again), 409)
    assert client.delete(f"{files}/folder/data.bin").status_code == 204


@pytest.mark.row("F184", "F210")
def test_a_bucket_elsewhere_is_no_data_repo(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any], moto: S3Server
) -> None:
    volume = new_name("elsewhere")
    moto.client("eu-central-1").create_bucket(
        Bucket=volume, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    with service.client("admin") as admin:
        form = {
            "name": new_name("S3"),
            "description": "Test",
            "groups": ["Data Scientists"],
            "inputs": moto.inputs(),
        }
        account = admin.post("/credentials", json=form).json()
    form = repo_form(volume_account=account["id"], volume_name=volume, volume_option="existing")
    before = repos(client, project)
    refused = problem(client.post(f"/projects/{project['id']}/data-repos", json=form), 422)
    assert refused["errors"][0]["field"] == "volume_region"
    assert "eu-central-1" in refused["detail"]
    assert repos(client, project) == before


def test_a_silent_server_holds_up_nobody_else(service: ServiceProcess, client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, service.client("admin") as admin:
        inputs = {"region": "us-east-1", "access_key": "k", "access_secret": "s"}
        inputs["endpoint_url"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        form = {"name": new_name("S3"), "description": "d", "groups": ["Data Scientists"], "inputs": inputs}
        account = admin.post("/credentials", json=form).json()
        body = project_form(new_name("P"), new_name("v"))
        body["data_repo"]["volume_account"] = account["id"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.post, "/projects", json=body, timeout=120)
            connection, _ = silent.accept()
            with service.client("scientist", timeout=20) as other:
                made = other.post("/projects", json=project_form(new_name("P"), new_name("v")))
                assert made.status_code == 201
            assert not waiting.done()
            silent.close()
            connection.close()
            assert "does not answer" in problem(waiting.result(), 424)["detail"]
