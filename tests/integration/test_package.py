"""Packaging through the API of a real service: what it makes, what it refuses, and how it fails."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a360_hub_service.backends.images import base_image, builder_class
from a360_hub_service.entities import Model, ModelEvent, Project
from a360_hub_service.errors import Conflict
from a360_hub_service.services.context import Settings
from a360_hub_service.services.packaging import endpoint_slug, usable_builder
from tests.support.catalogue import add_model, add_project, person
from tests.support.delivery import ROW, SCRIPT, Delivery, call, delivery_service, ok
from tests.support.registry import RegistryServer
from tests.support.service import ServiceProcess


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with delivery_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def approved(running: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """A model whose packaging every test asks for and none gets."""
    return Delivery(running, tmp_path_factory.mktemp("code")).approve()


@pytest.mark.row("F255", "F256", "F286", "F287", "F289", "F290", "F297", "F298", "F307", "F358", "F359")
def test_a_package_holds_model_script_and_dependencies(running: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(running, tmp_path).approve()
    assert delivery.status == "Ready to Package"
    job = delivery.package(validation_input=json.dumps(ROW), validation_output="8")
    assert job["status"] == "succeeded", delivery.log(job["id"])
    with running.client("engineer") as client:
        (package,) = ok(client.get(f"/models/{delivery.model_id}/packages"))["items"]
        assert ok(client.get(f"/packages/{package['id']}")) == package
    assert (package["status"], package["builder"], package["job_id"]) == ("ready", "bundle", job["id"])
    assert package["digest"].startswith("sha256:")
    assert len(package["commit"]) == 40
    assert package["form"]["script_name"] == "predict.py"
    bundle = Path(package["reference"])
    manifest = json.loads((bundle / "a360.json").read_text())
    assert manifest["project"] == f"P {delivery.mark}"
    assert (manifest["model_name"], manifest["version"]) == ("linear", "1.0")
    assert (manifest["commit"], manifest["slug"]) == (package["commit"], package["slug"])
    assert manifest["feature_names"] == ["a", "b"]
    assert (bundle / "script" / "predict.py").read_text() == SCRIPT
    site = {path.name for path in (bundle / "site").iterdir()}
    assert {"numpy", "onnxruntime"} <= site
    assert "sklearn" not in site
    log = delivery.log(job["id"])
    for step in ("fetch", "check", "collect", "build"):
        assert f"step {step}: " in log
    # Nothing is left of what was needed on the way.
    assert not list((running.home / "service" / "jobs").iterdir())


@pytest.mark.row("M083", "M087")
def test_a_baseline_set_after_the_run_reaches_the_endpoint(running: ServiceProcess, tmp_path: Path) -> None:
    script = (
        "import json\n\n\ndef predict(artifact_list, payload):\n"
        "    return [list(artifact_list[2]), json.loads(payload)]\n"
    )
    baseline = {"b": {"mean": 2.0, "std": 1.0}, "a": {"mean": 1.0, "std": 1.0}}
    delivery = Delivery(running, tmp_path, {"predict.py": script, "requirements.txt": ""})
    delivery.approve(feature_names=["b", "a"], baseline=baseline, enable_drift_monitoring=True)
    job = delivery.package()
    assert job["status"] == "succeeded", delivery.log(job["id"])
    assert "Took the baseline of 2 features" in delivery.log(job["id"])
    published, answer = delivery.publish()
    assert published["status"] == "succeeded", delivery.log(published["id"])
    url = delivery.endpoint()["url"]
    for row in ({"a": 2, "b": 3}, {"a": 4.5, "b": 5}, [2, 77]):
        assert call(url, answer["api_key"], row).json() == {"prediction": [["b", "a"], row]}
    slug = delivery.endpoint()["slug"]
    logs = [path.read_text() for path in running.home.rglob("*.log") if slug in str(path)]
    counted = [line for text in logs for line in text.splitlines() if "outliers" in line]
    assert counted == ['outliers {"a": 1}', 'outliers {"a": 1}']
    delivery.withdraw()


@pytest.mark.row("F257", "F258", "F271", "F308")
@pytest.mark.parametrize(
    ("files", "form", "said"),
    [
        ({"predict.py": "def predict(a):\n    pass\n", "requirements.txt": ""}, {}, "two arguments"),
        ({"predict.py": "x = 1\n", "requirements.txt": ""}, {}, "no function predict"),
        ({"predict.py": "def predict(:\n", "requirements.txt": ""}, {}, "not Python"),
        (None, {"script_name": "other.py"}, "no file other.py"),
        (None, {"branch": "nowhere"}, "no branch or tag"),
        (None, {"dependencies": "other.txt"}, "other.txt"),
        ({"predict.py": SCRIPT, "requirements.txt": "no-such-a360-package\n"}, {}, "no-such-a360-package"),
        (None, {"validation_input": "[[1, 2]]", "validation_output": "9"}, "9"),
        (None, {"validation_input": "[[1, 2"}, "JSON"),
        ({"predict.py": "raise OSError('no')\ndef predict(a, b): 1\n", "requirements.txt": ""}, {}, "no"),
    ],
)
def test_a_failure_says_why_and_can_be_tried_again(
    running: ServiceProcess, tmp_path: Path, files: dict[str, str] | None, form: dict[str, str], said: str
) -> None:
    delivery = Delivery(running, tmp_path, files).approve()
    for attempt in (1, 2):
        job = delivery.package(**form)
        assert job["status"] == "failed"
        assert said in job["error"] + (job["hint"] or "")
        assert "Traceback" not in job["error"]
        log = delivery.log(job["id"])
        assert job["error"][:50] in log
        assert delivery.status == "Package Failed"
        with running.client("engineer") as client:
            packages = ok(client.get(f"/models/{delivery.model_id}/packages"))["items"]
            history = ok(client.get(f"/models/{delivery.model_id}/history"))["items"]
        assert [package["status"] for package in packages] == ["failed"] * attempt
        assert packages[0]["error"] == job["error"]
        assert any(event["comment"] == job["error"] for event in history)
        assert not (running.home / "packages" / packages[0]["id"]).exists()
        assert not (running.home / "service" / "jobs" / job["id"]).exists()


@pytest.mark.row("F291", "F292", "F293", "F294", "F295", "F299", "F300", "F301", "F303", "F304")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"wrapper": "mqtt", "respond_topic": "out"}, "listen_topic"),
        ({"wrapper": "django"}, "wrapper"),
        ({"listen_topic": "in"}, "listen_topic"),
        ({"repository": "https://example.org/model"}, "repository"),
        ({"repository": "ssh://git@example.org/model.git"}, "repository"),
        ({"repository": "https://me:secret@example.org/model.git"}, "repository"),
        ({"repository": "https://[example.org/model.git"}, "repository"),
        ({"script_name": "predict.txt"}, "script_name"),
        ({"call_function": "no way"}, "call_function"),
        ({"input_format": "XML"}, "input_format"),
        ({"registry_type": "ecr"}, "registry_type"),
        ({"registry_url": "https://example.org"}, "registry_url"),
        ({"dependencies": ""}, "dependencies"),
        ({"builder": "hammer"}, "builder"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_a_package_form_must_say(approved: Delivery, change: dict[str, Any], field: str) -> None:
    with approved.service.client("engineer") as client:
        answer = client.post(f"/models/{approved.model_id}/package", json=approved.form(**change))
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["field"] == field
        if change in ({"wrapper": "mqtt"}, {"registry_type": "ecr"}):
            assert "offered is" in error["message"]
        assert not ok(client.get(f"/models/{approved.model_id}/jobs"))["items"]
    assert approved.status == "Ready to Package"


def test_the_form_needs_repository_and_script(approved: Delivery) -> None:
    with approved.service.client("engineer") as client:
        answer = client.post(f"/models/{approved.model_id}/package", json={})
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"repository", "script_name"}


@pytest.mark.row("F285")
def test_only_approved_models_are_packaged_and_only_by_the_team(
    running: ServiceProcess, approved: Delivery
) -> None:
    with running.client("scientist") as client:
        body = {"model_name": "fresh"}
        model = ok(client.post(f"/projects/{approved.model['project_id']}/models", json=body))
        answer = client.post(f"/models/{model['id']}/package", json=approved.form())
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong-state")
    for user, status in (("outsider", 404), ("admin", 404)):
        with running.client(user) as client:
            answer = client.post(f"/models/{approved.model_id}/package", json=approved.form())
            assert answer.status_code == status


@pytest.mark.row("F285", "F358")
@pytest.mark.parametrize(
    ("certified", "said"),
    [
        ({"none": True}, ["has no certificate"]),
        (
            {
                "passed": False,
                "difference": {
                    "row": "training row 17",
                    "column": "the label, by input column tenure",
                    "native": "1",
                    "onnx": "0",
                },
            },
            ["training row 17", "by input column tenure", "1 when trained, 0 when served"],
        ),
    ],
    ids=["none", "failed"],
)
def test_what_nobody_compared_or_what_differs_is_not_packaged(
    running: ServiceProcess, tmp_path: Path, certified: dict[str, Any], said: list[str]
) -> None:
    delivery = Delivery(running, tmp_path).approve(certified)
    with running.client("engineer") as client:
        answer = client.post(f"/models/{delivery.model_id}/package", json=delivery.form())
        assert answer.status_code == 409, answer.text
        document = answer.json()
        for text in said:
            assert text in document["detail"]
        assert "run its experiment again" in document["hint"]
        assert not ok(client.get(f"/models/{delivery.model_id}/jobs"))["items"]
    assert delivery.status == "Ready to Package"


def test_pressed_many_times_at_once_it_is_packaged_once(running: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(running, tmp_path).approve()

    def press(_: int) -> tuple[int, dict[str, Any]]:
        with running.client("engineer") as client:
            answer = client.post(f"/models/{delivery.model_id}/package", json=delivery.form())
            return answer.status_code, answer.json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(press, range(8)))
    taken = [body for status, body in answers if status == 202]
    refused = [body for status, body in answers if status == 409]
    assert (len(taken), len(refused)) == (1, 7)
    assert all("is being packaged right now" in body["detail"] and body["hint"] for body in refused)
    assert delivery.wait(taken[0]["id"])["status"] == "succeeded"
    with running.client("engineer") as client:
        assert len(ok(client.get(f"/models/{delivery.model_id}/packages"))["items"]) == 1
        assert len(ok(client.get(f"/models/{delivery.model_id}/jobs"))["items"]) == 1
    database = running.database()
    with database.session(write=False) as session:
        events = session.query(ModelEvent).where(ModelEvent.model_id == delivery.model_id)
        assert [event.command for event in events].count("package_succeeded") == 1
    database.close()


def test_a_changed_artifact_is_noticed(running: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(running, tmp_path).approve()
    (stored,) = (running.home / "volumes" / f"vol-{delivery.mark}").rglob("trained_model")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    job = delivery.package()
    assert job["status"] == "failed"
    assert "was changed" in job["error"]
    assert job["hint"]


@pytest.mark.row("F330")
def test_slugs_are_short_and_no_two_models_share_one(running: ServiceProcess) -> None:
    database = running.database()
    scientist = person("scientist", "Data Scientists")
    with database.session() as session:
        one, other = add_project(session, "scientist"), add_project(session, "scientist")
        one.slug, other.slug = "a", "a-b"
        first, second = add_model(session, one, scientist, "b c"), add_model(session, other, scientist, "c")
        session.flush()
        slugs = {endpoint_slug(session, first), endpoint_slug(session, second)}
        assert len(slugs) == 2
        assert all(slug.startswith("a-b-c-1-0") for slug in slugs)
        long = add_model(session, one, scientist, "x" * 120)
        assert len(endpoint_slug(session, long)) <= 50
        again = session.get_one(Project, one.id), session.get_one(Model, long.id)
        assert endpoint_slug(session, again[1]) == endpoint_slug(session, long)
        session.rollback()
    database.close()


def test_a_builder_that_cannot_work_is_a_conflict(tmp_path: Path) -> None:
    nobody = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    with delivery_service(tmp_path / "home", env=nobody) as service:
        delivery = Delivery(service, tmp_path).approve()
        with service.client("engineer") as client:
            path = f"/models/{delivery.model_id}/package"
            answer = client.post(path, json=delivery.form(builder="docker"))
        assert answer.status_code == 409, answer.text
        assert "cannot be built now" in answer.json()["detail"]
        assert delivery.status == "Ready to Package"


@pytest.mark.row("C26")
@pytest.mark.parametrize(("made_here", "chosen"), [(True, "docker"), (False, "bundle")])
def test_without_a_choice_images_are_built_where_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_here: bool, chosen: str
) -> None:
    builders = {name: builder_class(name)(home=str(tmp_path)) for name in ("oci", "docker", "bundle")}
    if not builders["docker"].health().available:
        chosen = "bundle"
    monkeypatch.setattr(base_image, "obstacle", lambda: "" if made_here else "not here")
    context = SimpleNamespace(builders=builders, settings=Settings(home=tmp_path, public_url=""))
    assert usable_builder(context, "") == chosen
    assert usable_builder(context, "bundle") == "bundle"


@pytest.mark.row("C26")
@pytest.mark.xdist_group("oci")
def test_without_a_choice_images_go_to_the_registry_where_one_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry_running: RegistryServer
) -> None:
    monkeypatch.setattr(base_image, "obstacle", lambda: "")
    registry = registry_running.configured()
    builders = {
        "oci": builder_class("oci")(home=str(tmp_path), registry=registry),
        "bundle": builder_class("bundle")(home=str(tmp_path)),
    }
    context = SimpleNamespace(builders=builders, settings=Settings(home=tmp_path, public_url=""))
    assert usable_builder(context, "") == "oci"
    registry.password = "wrong"
    assert usable_builder(context, "") == "bundle"
    with pytest.raises(Conflict, match="does not accept the user name and password"):
        usable_builder(context, "oci")


@pytest.mark.row("F188")
def test_packages_go_with_their_project(running: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(running, tmp_path).approve()
    assert delivery.package()["status"] == "succeeded"
    with running.client("scientist") as client:
        (package,) = ok(client.get(f"/models/{delivery.model_id}/packages"))["items"]
        folder = Path(package["reference"])
        assert folder.is_dir()
        project_id = ok(client.get(f"/models/{delivery.model_id}"))["project_id"]
        assert client.delete(f"/projects/{project_id}").status_code == 204
    assert not folder.exists()


def test_builders_and_targets_say_whether_they_work(running: ServiceProcess) -> None:
    with running.client("engineer") as client:
        builders = {each["name"]: each for each in ok(client.get("/builders"))["items"]}
        targets = {each["name"]: each for each in ok(client.get("/targets"))["items"]}
    assert set(builders) == {"bundle", "docker", "oci"}
    assert set(targets) == {"process", "docker", "clearblade"}
    assert builders["bundle"]["available"]
    assert targets["process"]["available"]
    assert all(each["available"] or each["reason"] for each in (*builders.values(), *targets.values()))
