"""The OpenAPI document is valid, is the committed one, and tells the truth."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from a360_hub_service.api.credentials import InputsEdit
from a360_hub_service.api.routes import ROUTES
from a360_hub_service.app import openapi
from tests.support.light_hub import LightHub
from tests.support.s3 import REGION, moto_server
from tests.support.service import ROOT, ServiceProcess
from tests.support.world import GROUPS, KEPT_CONTENT, KEPT_FILE, World, make, people

# One world for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("api-schema")
CONFIG = """
[checks.not_a_server_error]
# Nothing is away in this test: Hub, workspaces and S3 server are there, so no 503 either.
expected-statuses = ["2xx", "3xx", "4xx"]

[checks.positive_data_acceptance]
# Valid requests may come from somebody without the right, name what is gone, or come at the wrong time.
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409"]

[checks.negative_data_rejection]
# A bad body may also be too large to be read.
expected-statuses = ["400", "401", "403", "404", "409", "413", "415", "422"]
"""


_ACCOUNT = {
    "volume_account": "names one of the caller's accounts",
    "volume_region": "is the region of the account",
    "volume_name": "names a volume of the account, when an existing one is asked for",
}
_WORKSPACE = {"image": "names one of the operator's images", "gpus": "is what the operator's profiles have"}
_MONITORING = {
    "baseline": "has the names of the features",
    "enable_drift_monitoring": "needs a baseline, now or before",
}
_KEY = {"key": "counts bytes, and is about kinds of Unicode characters"}
BEYOND_SCHEMA: dict[str, dict[str, str]] = {
    "*": {"cursor": "is what the list itself gave"},
    "GET /data-repos/{data_repo_id}/files": {"prefix": _KEY["key"]},
    "GET /data-repos/{data_repo_id}/files/{key}": _KEY,
    "HEAD /data-repos/{data_repo_id}/files/{key}": _KEY,
    "PUT /data-repos/{data_repo_id}/files/{key}": _KEY,
    "DELETE /data-repos/{data_repo_id}/files/{key}": _KEY,
    "GET /data-repos/{data_repo_id}/version": _KEY,
    "POST /data-repos/{data_repo_id}/commits": {
        "changes.*.key": _KEY["key"],
        "changes.*.sha256": "is of a content that the data repo keeps, with its size",
    },
    "POST /data-repos/{data_repo_id}/contents": {"changes.*.key": _KEY["key"]},
    "POST /data-repos/{data_repo_id}/restore": {"keys.*": "names a file or folder"},
    "POST /data-repos/{data_repo_id}/branches": {"name": "is no identifier of a commit"},
    "POST /data-repos/{data_repo_id}/tags": {"name": "is no identifier of a commit"},
    "POST /projects": _ACCOUNT,
    "POST /projects/{project_id}/data-repos": _ACCOUNT,
    "POST /credentials": {
        "groups": "name groups of the Hub",
        "inputs.private_key": "is a key in PEM format",
        "inputs.prefix": "begins names of repositories as registries take them",
        "inputs.test_repository": "is below the base address",
        "inputs.private_key_passphrase": "opens the private key",
        "inputs.service_account": "is a key file",
        "inputs.kubeconfig": "is a kubeconfig that asks for nothing it may not have",
        **{f"inputs.{name}": "is needed by some ways of calls" for name in ("host", "gateway_ref")},
        **{
            f"inputs.{name}": "exclude each other, and one is needed"
            for name in ("password", "access_token", "oauth_token")
        },
        **{
            f"inputs.{name}": "go together in pairs, of which one is needed"
            for name in ("username", "user_token", "system_key")
        },
        "inputs.ca_certificate": "is of a broker with TLS",
    },
    "PATCH /credentials/{credential_id}": {
        "groups": "name groups of the Hub",
        **{
            f"inputs.{field.alias or name}": "is an input of the credential's service"
            for name, field in InputsEdit.model_fields.items()
        },
    },
    "POST /credentials/{credential_id}/test": {"service": "is one whose driver is installed"},
    "PUT /projects/{project_id}/collaborators/{user_name}": {"user_name": "names a user with a working role"},
    "POST /projects/{project_id}/workspaces": _WORKSPACE,
    "PATCH /workspaces/{workspace_id}": _WORKSPACE,
    "POST /models/{model_id}/experiments": {
        **_MONITORING,
        "feature_names": "are all different once blanks around them are gone",
    },
    "PATCH /experiments/{experiment_id}": _MONITORING,
    "PUT /models/{model_id}/final-run": {
        "experiment_id": "names one of the model's experiments",
        "run_id": "names a finished run of the experiment",
    },
    "POST /runs/{run_id}/finish": {
        "artifacts": "are all different, and of a failed run only its records",
        "artifacts.*": "is a file that the data repo holds",
        "error": "is told of failed runs only",
        "certificate": "is about the artifacts, and about none of a failed run",
    },
    "POST /models/{model_id}/submit": {"reviewer": "names another collaborator"},
    "POST /models/{model_id}/package": {
        "repository": "has an address that the operator allows",
        "builder": "names one of the operator's builders",
        "validation_output": "is the answer to a validation input",
        **dict.fromkeys(("listen_topic", "respond_topic"), "is of the wrapper mqtt only, and is a topic"),
        "repository_account": "names a credential of the caller's groups for the repository",
        "registry_type": "is offered to the caller, and the builder pushes there",
        "registry_url": "is offered to the caller, and the builder pushes there",
        "base_image": "is the name of an image of a registry that the operator allows",
    },
    "POST /models/{model_id}/publish": {
        "cpu_request": "is at most cpu_limit",
        "memory_request": "is at most memory_limit",
        "credential": "names a broker's, for a target that needs one",
        "replicas": "is 1 at a broker",
        "max_replicas": "is at least replicas, and of a target that scales",
        "target": "names one of the operator's targets, or of the caller's deployment targets",
    },
    "POST /waivers": {"until": "is a day within a year"},
}
"""What a schema cannot say: operation -> field of the problem -> why a valid request may get a 422 for it."""


def names(world: World) -> dict[str, list[str | int]]:
    """Fields of bodies that name something, and what there is to name."""
    ids = world.ids
    return {
        "volume_account": ["local", ids["credential_id"]],
        "volume_region": [REGION],
        "groups": list(GROUPS.values()),
        "image": ["sklearn", "a360-local-sklearn"],
        "builder": ["bundle"],
        "target": ["process"],
        "reviewer": ["reviewer"],
        "experiment_id": [ids["experiment_id"]],
        "run_id": [ids["run_id"]],
        "repository": ["https://127.0.0.1:9/model.git"],
        **{key: ["main"] for key in ("at", "to", "base", "branch")},
        **{key: [KEPT_FILE] for key in ("key", "keys")},
        "sha256": [hashlib.sha256(KEPT_CONTENT).hexdigest()],
        "size": [len(KEPT_CONTENT)],
    }


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi()


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in iter_errors(document)]
    assert not errors


def iter_errors(document: dict[str, Any]) -> Iterator[Any]:
    yield from OpenAPIV31SpecValidator(document).iter_errors()


def test_the_committed_document_is_the_generated_one(document: dict[str, Any]) -> None:
    committed = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert committed == json.loads(json.dumps(document)), "run `make openapi` and commit docs/openapi.json"


def test_the_served_document_is_the_generated_one(service: ServiceProcess, document: dict[str, Any]) -> None:
    assert httpx.get(f"{service.api_url}/openapi.json").json() == json.loads(json.dumps(document))


def test_every_route_is_described(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(ROUTES)
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert operation["tags"] != [""], operation["operationId"]
        assert {"401", "403", "404", "422"} <= set(operation["responses"])


def test_every_body_refuses_what_it_does_not_know(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body:
                schema = schemas[body["schema"]["$ref"].rpartition("/")[2]]
                assert schema.get("additionalProperties") is False or "oneOf" in schema, operation[
                    "operationId"
                ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with moto_server() as server:
        hub = LightHub(tmp_path_factory.mktemp("schema"), people=people()).start()
        try:
            yield make(hub, account=server.inputs())
        finally:
            hub.stop()


NOT_THE_SCIENTISTS = {
    "POST /endpoints/{endpoint_id}/keys": "takes a live endpoint, which test_endpoint_keys.py has",
    "DELETE /endpoints/{endpoint_id}/keys/{key_id}": "takes a live endpoint, which test_endpoint_keys.py has",
    "POST /models/{model_id}/approve": "takes the reviewer",
    "POST /models/{model_id}/deny": "takes the reviewer",
    "POST /models/{model_id}/publish": "takes a package, which test_publish.py has",
    "POST /models/{model_id}/withdraw": "takes a published model, which test_publish.py has",
    "POST /jobs/{job_id}/cancel": "takes a job at work, which test_cancel.py has",
}
"""What no request of the scientist's brings about, beside the credentials, which take the administrator."""


def refused_always(answers: dict[str, int]) -> set[str]:
    """Operations that never did what they are for, by the counts of answers (``GET /me positive 200``)."""
    found = [name.rsplit(" ", 2) for name in answers]
    return {label for label, _, _ in found} - {label for label, _, status in found if status.startswith("2")}


def tags(*names: str) -> list[str]:
    """Options for the operations with one of these tags."""
    return [part for name in names for part in ("--include-tag", name)]


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("user", "options"),
    [
        # Whatever the body, scientists make and change no credentials: those are tried by somebody who may.
        (
            "scientist",
            [
                *("--phases", "coverage,fuzzing,stateful", "--max-examples", "2", "--exclude-tag", "Waivers"),
                *("--exclude-operation-id", "create_credential"),
                *("--exclude-operation-id", "edit_credential"),
            ],
        ),
        (
            "admin",
            [
                *("--phases", "coverage,fuzzing", "--max-examples", "3", *tags("Credentials", "Waivers")),
                *("--exclude-operation-id", "create_credential"),
            ],
        ),
        # Its body is one of nine forms: to cover each field of each takes as long as all the rest.
        (
            "admin",
            ["--phases", "fuzzing", "--max-examples", "20", "--include-operation-id", "create_credential"],
        ),
        ("reviewer", ["--phases", "fuzzing", "--max-examples", "4", *tags("Review")]),
        ("engineer", ["--phases", "fuzzing", "--max-examples", "3", *tags("Packages", "Endpoints")]),
        ("outsider", ["--phases", "fuzzing", "--max-examples", "2", *tags("Projects", "Workspaces")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_answer_breaks_the_document(world: World, tmp_path: Path, user: str, options: list[str]) -> None:
    """No 5xx, no undocumented status or content, no answer breaks its schema, no bad request is accepted."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    service = world.service
    before = len(service.logged())
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"),
        f"{service.api_url}/openapi.json",
        *("--origin", f"http://127.0.0.1:{service.port}"),
        *("--header", f"Authorization: Bearer test-{user}"),
        *("--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off", "--seed", "360"),
        *options,
    ]
    env = {
        **os.environ,
        "A360_TEST_IDS": json.dumps(world.ids),
        "A360_TEST_INSTEAD": json.dumps(world.instead),
        "A360_TEST_NAMES": json.dumps(names(world)),
        # Commits may delete, so they get a file of their own.
        "A360_TEST_NAMES_OF": json.dumps({"POST /data-repos/{data_repo_id}/commits": {"key": ["own.csv"]}}),
        "A360_TEST_BEYOND_SCHEMA": json.dumps(
            {operation: list(why) for operation, why in BEYOND_SCHEMA.items()}
        ),
        "A360_TEST_ANSWERS": str(tmp_path / "answers.json"),
        "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unexpected error" not in service.logged()[before:]
    if user == "scientist":
        # Requests that all end in a 404 would prove little.
        done_by_nobody = refused_always(json.loads((tmp_path / "answers.json").read_text()))
        assert {label for label in done_by_nobody if "/credentials" not in label} <= set(NOT_THE_SCIENTISTS)
