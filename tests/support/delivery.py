"""Models that are ready to package, and repositories with scripts, for tests of packaging and publishing."""

import atexit
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from a360_hub_service.backends.targets.gateway import Gateway
from a360_hub_service.backends.targets.process import ProcessTarget
from a360_hub_service.entities import new_id
from tests.support.certificates import certificate
from tests.support.service import ServiceProcess, project_form, wait_for

CONFIG = (
    "c.GitSource.allow_file_urls = True\nc.LocalTarget.drain_timeout = 2\n"
    'c.A360HubService.default_builder = "bundle"\n'
)
"""Configuration of services in these tests: repositories on this machine, and no image unless asked for."""

SCRIPT = """
import json

import numpy as np


def predict(artifact_list, payload):
    rows = json.loads(payload)
    return artifact_list[0].predict(np.asarray(rows, dtype=np.float32)).ravel()[0]
"""
ROW = [[1.0, 2.0]]
PREDICTION = 8.0
"""What the model says about ROW: 2 * 1 + 3 * 2."""
SIZES = {"cpu_request": 0.1, "cpu_limit": 1, "memory_request": 0.1, "memory_limit": 1}


@cache
def _cache() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="a360-test-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def linear_model() -> bytes:
    """An ONNX graph that computes 2a + 3b."""
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 2])
    sums = helper.make_tensor_value_info("sums", TensorProto.FLOAT, [None, 1])
    weights = numpy_helper.from_array(np.array([[2], [3]], dtype=np.float32), "weights")
    product = helper.make_node("MatMul", ["rows", "weights"], ["sums"])
    graph = helper.make_graph([product], "linear", [rows], [sums], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


@contextmanager
def delivery_service(
    home: Path, config: str = "", *, shared_cache: bool = True, **options: Any
) -> Iterator[ServiceProcess]:
    """A service for packages and endpoints; what outlives a service is taken away at the end.

    Dependencies are installed once for all services with ``shared_cache``.
    """
    if shared_cache:
        home.mkdir(parents=True, exist_ok=True)
        (home / "cache").symlink_to(_cache())
    service = ServiceProcess(home, config=CONFIG + config, **options).start()
    try:
        yield service
    finally:
        service.stop()
        take_down(home)


def take_down(home: Path) -> None:
    """Stop the endpoints and the gateway of a state directory."""
    gateway = Gateway(home=str(home))
    target = ProcessTarget(home=str(home), gateway=gateway, drain_timeout=0)
    gateway.stop()
    for slug in target.slugs():
        target.remove(slug, print)


def make_repository(folder: Path, files: dict[str, str] | None = None) -> str:
    """A git repository with these files on its branch ``main``; its ``file://`` address."""
    files = files or {"predict.py": SCRIPT, "requirements.txt": "numpy\n"}
    work, bare = folder / "work", folder / "model.git"
    for name, text in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    run = {"check": True, "capture_output": True}
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], **run)  # type: ignore[call-overload]
    subprocess.run(["git", "-C", str(work), "add", "."], **run)  # type: ignore[call-overload]
    subprocess.run(["git", "-C", str(work), *who, "commit", "-qm", "x"], **run)  # type: ignore[call-overload]
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], **run)  # type: ignore[call-overload]
    return bare.as_uri()


class Delivery:
    """One model of a service, driven through the API by the people who would.

    Parameters
    ----------
    service
        A running service.
    folder
        For the repository.
    files
        Of the repository; a script that works when left out.
    """

    def __init__(self, service: ServiceProcess, folder: Path, files: dict[str, str] | None = None) -> None:
        self.service = service
        folder.mkdir(parents=True, exist_ok=True)
        self.repository = make_repository(folder, files)
        self.mark = new_id()[-12:]

    def approve(self, certified: dict[str, Any] | None = None, **experiment: Any) -> "Delivery":
        """Make a project with a model whose final run is approved.

        Parameters
        ----------
        certified
            Changes to the check of its certificate; with ``{"none": True}`` it has none.
        experiment
            More of the experiment's form.
        """
        with self.service.client("scientist") as mine, self.service.client("reviewer") as theirs:
            project = ok(mine.post("/projects", json=project_form(f"P {self.mark}", f"vol-{self.mark}")))
            for name in ("reviewer", "engineer"):
                ok(mine.put(f"/projects/{project['id']}/collaborators/{name}"))
            self.model = ok(mine.post(f"/projects/{project['id']}/models", json={"model_name": "linear"}))
            made = ok(mine.post(f"/models/{self.model_id}/experiments", json=_EXPERIMENT | experiment))
            run = ok(mine.post(f"/experiments/{made['id']}/runs", json={}))
            self._log_model(mine, run, certified or {})
            final = {"experiment_id": made["id"], "run_id": run["id"]}
            ok(mine.put(f"/models/{self.model_id}/final-run", json=final))
            ok(mine.post(f"/models/{self.model_id}/submit", json={"reviewer": "reviewer"}))
            ok(theirs.post(f"/models/{self.model_id}/approve", json={}))
        return self

    def _log_model(self, client: httpx.Client, run: dict[str, Any], certified: dict[str, Any]) -> None:
        content = linear_model()
        key = f"{run['artifact_prefix'].rstrip('/')}/trained_model"
        ok(client.put(f"/data-repos/{run['data_repo_id']}/files/{key}", content=content))
        artifact = {
            "name": "trained_model",
            "kind": "model",
            "file_key": key,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        body: dict[str, Any] = {"status": "finished", "artifacts": [artifact]}
        if "none" not in certified:
            body["certificate"] = certificate([artifact], **certified)
        ok(client.post(f"/runs/{run['id']}/finish", json=body))

    @property
    def model_id(self) -> str:
        """The model's identifier."""
        return str(self.model["id"])

    @property
    def status(self) -> str:
        """The model's status now."""
        with self.service.client("scientist") as client:
            return str(ok(client.get(f"/models/{self.model_id}"))["status"])

    def form(self, **more: Any) -> dict[str, Any]:
        """The body of a package call."""
        return {"repository": self.repository, "script_name": "predict.py", **more}

    def package(self, **more: Any) -> dict[str, Any]:
        """Package as the engineer, and wait; the job."""
        with self.service.client("engineer") as client:
            job = ok(client.post(f"/models/{self.model_id}/package", json=self.form(**more)))
        return self.wait(job["id"])

    def publish(self, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Publish as the engineer, and wait; the job and the answer that held the key."""
        with self.service.client("engineer") as client:
            answer = ok(client.post(f"/models/{self.model_id}/publish", json=SIZES | more))
        return self.wait(answer["job"]["id"]), answer

    def withdraw(self) -> dict[str, Any]:
        """Withdraw as the engineer, and wait; the job."""
        with self.service.client("engineer") as client:
            job = ok(client.post(f"/models/{self.model_id}/withdraw"))
        return self.wait(job["id"])

    def wait(self, job_id: str, seconds: float = 120) -> dict[str, Any]:
        """The job once it has ended."""

        def ended() -> dict[str, Any] | None:
            with self.service.client("engineer") as client:
                job = ok(client.get(f"/jobs/{job_id}"))
            return job if job["status"] in ("succeeded", "failed", "cancelled") else None

        return dict(wait_for(ended, seconds=seconds, message="the job did not end"))

    def log(self, job_id: str) -> str:
        """A job's log as text."""
        with self.service.client("engineer") as client:
            events = ok(client.get(f"/jobs/{job_id}/events", params={"limit": 1000}))["items"]
        return "\n".join(f"{event['kind']} {event['step']}: {event['message']}" for event in events)

    def endpoint(self) -> dict[str, Any]:
        """The model's endpoint now."""
        with self.service.client("engineer") as client:
            return dict(ok(client.get(f"/models/{self.model_id}/endpoint")))


def call(url: str, key: str, row: Any = ROW) -> httpx.Response:
    """Call an endpoint as its users do."""
    headers = {"Content-Type": "application/json", "apikey": key}
    return httpx.post(url, content=json.dumps(row), headers=headers, timeout=30)


def ok(answer: httpx.Response) -> Any:
    """The body of an answer that is no error."""
    assert answer.status_code < 400, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json() if answer.content else None


def events(stream: httpx.Response) -> Iterator[dict[str, str]]:
    """Server-Sent Events of a streamed answer: their fields; comments are left out."""
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line:
            if fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


_EXPERIMENT = {
    "experiment_name": "least squares",
    "model_flavor": "sklearn",
    "input_signature": "a float, b float",
    "output_signature": "y float",
    "feature_names": ["a", "b"],
}
