"""A project with its people, driven through the API: models, experiments, runs and their files."""

import hashlib
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import httpx

from a360_hub_service.entities import new_id
from tests.support.certificates import certificate
from tests.support.service import ServiceProcess, project_form

EXPERIMENT = {
    "experiment_name": "forest",
    "model_flavor": "sklearn",
    "input_signature": "age big_integer, income float",
    "output_signature": "Churn big_integer",
    "train_shape": [2],
    "feature_names": ["age", "income"],
}
CONTENT = b"a model"


class Lab:
    """A project of the scientist's, with the reviewer and the engineer on it.

    ``scientist``, ``reviewer``, ``engineer``, ``outsider``, ``admin`` and ``nobody`` are clients.
    """

    def __init__(self, service: ServiceProcess) -> None:
        self._stack = ExitStack()
        self.service = service
        self.scientist = self._client("scientist")
        self.reviewer = self._client("reviewer")
        self.engineer = self._client("engineer")
        self.outsider = self._client("outsider")
        self.admin = self._client("admin")
        self.nobody = self._client("nobody")
        mark = new_id()[-12:]
        self.project = ok(self.scientist.post("/projects", json=project_form(f"Lab {mark}", f"lab-{mark}")))
        for name in ("reviewer", "engineer"):
            ok(self.scientist.put(f"/projects/{self.project['id']}/collaborators/{name}"))

    def _client(self, name: str) -> httpx.Client:
        return self._stack.enter_context(self.service.client(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def models_path(self) -> str:
        """Where the project's models are."""
        return f"/projects/{self.project['id']}/models"

    def model(self, name: str = "churn", **more: Any) -> dict[str, Any]:
        """A model."""
        return dict(ok(self.scientist.post(self.models_path, json={"model_name": name, **more})))

    def experiment(self, model: dict[str, Any], **more: Any) -> dict[str, Any]:
        """An experiment."""
        return dict(ok(self.scientist.post(f"/models/{model['id']}/experiments", json=EXPERIMENT | more)))

    def run(self, experiment: dict[str, Any], **values: Any) -> dict[str, Any]:
        """A run that runs."""
        return dict(ok(self.scientist.post(f"/experiments/{experiment['id']}/runs", json=values)))

    def artifact(
        self,
        run: dict[str, Any],
        name: str = "trained_model",
        *,
        kind: str = "model",
        content: bytes = CONTENT,
    ) -> dict[str, Any]:
        """Upload a file into the run's folder; what the run says of it."""
        key = f"{run['artifact_prefix']}/{name}"
        ok(self.scientist.put(f"/data-repos/{run['data_repo_id']}/files/{key}", content=content))
        return describe(name, kind, key, content)

    def finished_run(self, experiment: dict[str, Any], **values: Any) -> dict[str, Any]:
        """A finished run with a trained model."""
        run = self.run(experiment)
        artifact = self.artifact(run)
        body = {"status": "finished", "artifacts": [artifact], "certificate": certificate([artifact])}
        body |= values
        return dict(ok(self.scientist.post(f"/runs/{run['id']}/finish", json=body)))

    def chosen_model(self, name: str = "churn") -> dict[str, Any]:
        """A model with a final run."""
        model = self.model(name)
        experiment = self.experiment(model)
        self.choose(model, self.finished_run(experiment))
        return dict(ok(self.scientist.get(f"/models/{model['id']}")))

    def choose(self, model: dict[str, Any], run: dict[str, Any]) -> httpx.Response:
        """Make a run final."""
        body = {"experiment_id": run["experiment_id"], "run_id": run["id"]}
        return self.scientist.put(f"/models/{model['id']}/final-run", json=body)

    def submitted_model(self, name: str = "churn") -> dict[str, Any]:
        """A model in review by the reviewer."""
        model = self.chosen_model(name)
        return dict(ok(self.scientist.post(f"/models/{model['id']}/submit", json={"reviewer": "reviewer"})))

    def approved_model(self, name: str = "churn") -> dict[str, Any]:
        """A model that the reviewer approved."""
        model = self.submitted_model(name)
        return dict(ok(self.reviewer.post(f"/models/{model['id']}/approve", json={})))


def describe(name: str, kind: str, key: str, content: bytes) -> dict[str, Any]:
    """What a run says of an artifact with this content."""
    digest = hashlib.sha256(content).hexdigest()
    return {"name": name, "kind": kind, "file_key": key, "size": len(content), "sha256": digest}


def ok(answer: httpx.Response) -> Any:
    """The body of an answer that is no error."""
    assert answer.status_code < 400, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json() if answer.content else None
