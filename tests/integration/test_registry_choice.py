"""The registry on the form of a package: which ones are offered, and images in AWS's (rows F304, F305)."""

import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.engine import engine_health
from a360_hub_service.backends.images.base_image import obstacle
from a360_hub_service.backends.images.oci import OciBuilder
from a360_hub_service.backends.registries.ecr import EcrRegistry
from tests.support.delivery import PREDICTION, ROW, Delivery, call, delivery_service, ok
from tests.support.ecr import REGION, Ecr, ecr
from tests.support.endpoints import free_port, package_request
from tests.support.registry import PASSWORD, USER, RegistryServer
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.xdist_group("oci")

TEAM = ["ML Engineers"]
needs_base = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ecr]:
    with ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    config = "c.A360HubService.default_builder = ''\nc.A360HubService.builders = ['oci', 'bundle']\n"
    config += f"c.DockerTarget.prefix = 'a360-git-{os.getpid()}'\nc.DockerTarget.drain_timeout = 1\n"
    with delivery_service(tmp_path_factory.mktemp("service"), config) as running:
        yield running


@pytest.fixture
def admin(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("admin") as client:
        yield client
        for row in ok(client.get("/credentials", params={"category": "api_token"}))["items"]:
            ok(client.delete(f"/credentials/{row['id']}"))


def account(client: httpx.Client, name: str, service: str, inputs: dict[str, Any], groups: list[str]) -> str:
    form = {"name": name, "description": "x", "groups": groups, "service": service, "inputs": inputs}
    return str(ok(client.post("/credentials", json=form))["id"])


def oci_inputs(url: str, **changes: Any) -> dict[str, Any]:
    return {"registry_url": url, "username": USER, "password": PASSWORD} | changes


@pytest.mark.row("F082", "F087", "F094")
def test_the_connection_to_aws_is_tested(admin: httpx.Client, aws: Ecr) -> None:
    made = account(admin, "AWS", "aws_ecr", aws.inputs(), TEAM)
    assert ok(admin.post(f"/credentials/{made}/test"))["message"] == (
        f"The connection works. The registry {aws.server.url} knows the account."
    )
    shown = admin.get(f"/credentials/{made}").text
    assert "a-secret-of-aws" not in shown
    assert "AKIATEST" not in shown
    ok(
        admin.patch(
            f"/credentials/{made}", json={"inputs": {"endpoint_url": f"http://127.0.0.1:{free_port()}"}}
        )
    )
    found = ok(admin.post(f"/credentials/{made}/test"))
    assert found["message"].startswith(f"AWS's ECR in {REGION} does not answer: ")


@pytest.mark.row("F304", "F305")
def test_a_form_chooses_among_what_its_groups_may_use(
    admin: httpx.Client, aws: Ecr, service: ServiceProcess, tmp_path: Path
) -> None:
    delivery = Delivery(service, tmp_path).approve()
    other = "https://registry.example.org"
    account(admin, "Team's", "oci_registry", oci_inputs(f"{other}/"), TEAM)
    account(admin, "Others'", "oci_registry", oci_inputs("https://others.example.org"), ["Data Scientists"])
    with service.client("engineer") as engineer:
        assert ok(engineer.get("/registries"))["items"] == [{"type": "oci", "url": other, "name": "Team's"}]
        for form, field, said in (
            ({"registry_type": "ecr"}, "registry_type", f"offered is: {other} (oci)"),
            ({"registry_url": "https://others.example.org"}, "registry_url", f"offered is: {other} (oci)"),
            ({"registry_type": "none", "registry_url": other}, "registry_url", "without a registry"),
            (
                {"registry_type": "oci", "builder": "bundle"},
                "registry_type",
                "“bundle” pushes to no registry",
            ),
        ):
            answer = engineer.post(f"/models/{delivery.model_id}/package", json=delivery.form(**form))
            assert answer.status_code == 422, answer.text
            (error,) = answer.json()["errors"]
            assert (error["field"], said in error["message"]) == (field, True), error
        # What is chosen has to answer before a job begins.
        answer = engineer.post(f"/models/{delivery.model_id}/package", json=delivery.form(registry_url=other))
        assert answer.status_code == 409, answer.text
        assert "The registry registry.example.org does not answer" in answer.json()["detail"]
        account(admin, "One", "aws_ecr", aws.inputs(), TEAM)
        account(admin, "Two", "aws_ecr", aws.inputs(registry_url=other), TEAM)
        answer = engineer.post(f"/models/{delivery.model_id}/package", json=delivery.form())
        assert f"several are offered: {aws.server.url}, {other}" in answer.json()["errors"][0]["message"]
    assert delivery.status == "Ready to Package"


@pytest.mark.row("F301", "F302")
def test_a_base_image_of_another_network_is_refused_on_the_form(
    service: ServiceProcess, tmp_path: Path
) -> None:
    delivery = Delivery(service, tmp_path).approve()
    with service.client("engineer") as client:
        form = delivery.form(builder="oci", base_image=f"127.0.0.1:{free_port()}/python:3")
        answer = client.post(f"/models/{delivery.model_id}/package", json=form)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "base_image"
    assert "127.0.0.1 is not a host that the operator allows" in error["message"]
    assert "c.Registry.base_hosts" in answer.json()["hint"]


@needs_base
@pytest.mark.row("F304", "F305")
def test_a_builder_at_another_registry_pushes_there(
    aws: Ecr, package_home: Path, registry_running: RegistryServer, model_file: Path, repository: Path
) -> None:
    own = OciBuilder(home=str(package_home), registry=registry_running.configured(), validation_timeout=7.0)
    builder = own.at(registry(aws, prefix="models", platform=own.registry))
    assert builder.validation_timeout == own.validation_timeout
    log: list[str] = []
    request = package_request(model_file, repository)
    built = builder.build(request, log.append)
    assert built.reference.startswith(f"{aws.server.address}/models/iris-forest-1-0:")
    assert "Made the repository models/iris-forest-1-0." in log
    assert "models/iris-forest-1-0" in aws.repositories()
    assert own.find(request.package_id, request.slug) is None
    builder.remove(request.package_id, request.slug)
    assert builder.find(request.package_id, request.slug) is None


@needs_base
@pytest.mark.long
@pytest.mark.row("F286", "F304", "F305", "F307")
def test_an_image_goes_to_aws_when_it_is_offered(
    admin: httpx.Client, aws: Ecr, service: ServiceProcess, tmp_path: Path
) -> None:
    account(admin, "AWS", "aws_ecr", aws.inputs(prefix="team/models"), TEAM)
    delivery = Delivery(service, tmp_path).approve()
    job = delivery.package()
    log = delivery.log(job["id"])
    assert job["status"] == "succeeded", log
    with service.client("engineer") as engineer:
        (package,) = ok(engineer.get(f"/models/{delivery.model_id}/packages"))["items"]
    slug = package["slug"]
    assert package["reference"].startswith(f"{aws.server.address}/team/models/{slug}:")
    assert (package["form"]["registry_type"], package["form"]["registry_url"]) == ("ecr", aws.server.url)
    assert f"Made the repository team/models/{slug}." in log
    assert f"team/models/{slug}" in aws.repositories()
    with aws.server.http() as client:
        assert client.get(f"/v2/team/models/{slug}/tags/list").json()["tags"]
    if engine_health().available:
        # The engine pulls with a password of the credential's, not with the platform's.
        published, answer = delivery.publish(target="docker")
        assert published["status"] == "succeeded", delivery.log(published["id"])
        url = delivery.endpoint()["url"]
        assert call(url, answer["api_key"], ROW).json() == {"prediction": PREDICTION}
        assert delivery.withdraw()["status"] == "succeeded"
    # It leaves the registry with its project.
    with service.client("scientist") as scientist:
        ok(scientist.delete(f"/projects/{delivery.model['project_id']}"))
    with aws.server.http() as client:
        tag = package["reference"].rpartition(":")[2]
        assert client.get(f"/v2/team/models/{slug}/manifests/{tag}").status_code == 404


def registry(aws: Ecr, **changes: Any) -> EcrRegistry:
    given = {"url": aws.server.url, "region": REGION, "endpoint_url": aws.api, "access_key": "AKIA"}
    return EcrRegistry(**(given | {"access_secret": f"s{free_port()}"} | changes))


def test_a_password_is_kept_until_it_expires(aws: Ecr, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    expires = [datetime.now(UTC) + timedelta(hours=12)]

    class Client:
        """What moto does not do: passwords that differ, and expire."""

        def get_authorization_token(self) -> dict[str, Any]:
            asked.append(f"AWS:password-{len(asked)}")
            token = base64.b64encode(asked[-1].encode()).decode()
            return {"authorizationData": [{"authorizationToken": token, "expiresAt": expires[0]}]}

    from a360_hub_service.backends.storage.s3_account import S3Account

    monkeypatch.setattr(S3Account, "client", lambda self, service, patient: Client())
    found = registry(aws)
    assert [found.login().password for _ in range(3)] == ["password-0"] * 3
    assert "password-0" not in repr(found.login())
    expires[0] = datetime.now(UTC) + timedelta(minutes=4)
    other = registry(aws)
    assert [other.login().password for _ in range(2)] == ["password-1", "password-2"]


def test_a_repository_that_may_not_be_made_is_named(aws: Ecr) -> None:
    found = registry(aws, creates=False)
    with pytest.raises(BackendError, match="has no repository team/none, and the credential does not let"):
        found.prepare("team/none")
    found.creates = True
    assert found.prepare("team/some") == "Made the repository team/some."
    assert found.prepare("team/some") == ""
    aws.client.delete_repository(repositoryName="team/some")
