"""The OpenAPI document is valid, is the committed one, and tells the truth."""

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

from a360_hub_service.api.routes import ROUTES
from a360_hub_service.app import openapi
from tests.support.service import ROOT, ServiceProcess
from tests.support.world import World, make, people

# One world for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("api-schema")
CONFIG = """
[checks.not_a_server_error]
# The parts that tests of this service do without (the Hub's spawners, an S3 server) say so with a 503.
expected-statuses = ["2xx", "3xx", "4xx", 503]

[checks.negative_data_rejection]
# A bad body may also be too large to be read.
expected-statuses = ["400", "401", "403", "404", "409", "413", "415", "422"]
"""


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
    service = ServiceProcess(tmp_path_factory.mktemp("schema"), people=people()).start()
    try:
        yield make(service)
    finally:
        service.stop()


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("user", "options"),
    [
        ("scientist", ["--phases", "coverage,fuzzing,stateful", "--max-examples", "6"]),
        ("admin", ["--phases", "coverage,fuzzing", "--max-examples", "6", "--include-tag", "Credentials"]),
        ("reviewer", ["--phases", "fuzzing", "--max-examples", "4", "--include-tag", "Review"]),
        ("engineer", ["--phases", "fuzzing", "--max-examples", "2"]),
        ("outsider", ["--phases", "fuzzing", "--max-examples", "2"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_answer_breaks_the_document(world: World, tmp_path: Path, user: str, options: list[str]) -> None:
    """No 5xx, no undocumented status or content, no answer breaks its schema, no bad request is accepted."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    service = world.service
    before = len(service.log.read_text())
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"),
        f"{service.api_url}/openapi.json",
        *("--origin", f"http://127.0.0.1:{service.port}"),
        *("--header", f"Authorization: Bearer test-{user}"),
        # Names that are taken and references that lead nowhere are no part of a schema.
        *("--exclude-checks", "positive_data_acceptance"),
        *("--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off", "--seed", "360"),
        *options,
    ]
    env = {
        **os.environ,
        "A360_TEST_IDS": json.dumps(world.ids),
        "A360_TEST_INSTEAD": json.dumps(world.instead),
        "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unexpected error" not in service.log.read_text()[before:]
