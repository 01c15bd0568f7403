"""The demo's project: from the biopsies' measurements to a screening endpoint."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd

from . import line
from .errors import DemoError
from .line import Published, Record
from .notebooks import Jupyter
from .people import Person
from .platform import Platform
from .steps import Steps

PROJECT = Path(__file__).parent.parent / "breast-cancer-screening"
NOTEBOOKS = ("exploration", "preparation", "training", "inference")
ROWS = 100


class Screening:
    """Everything between the platform's start and its end.

    Parameters
    ----------
    platform : Platform
        Where to work.
    steps : Steps
        Prints what happens.
    engine : str
        ``docker``, ``none``, or ``auto`` for docker where an engine answers.
    """

    def __init__(self, platform: Platform, steps: Steps, engine: str) -> None:
        self.platform, self.steps, self.engine = platform, steps, engine
        self.people: dict[str, Person] = {}
        self.workspace: Record | None = None
        self.project: Record = {}
        self.model: Record = {}
        self.published: Published | None = None
        self.rows: pd.DataFrame | None = None
        self.finished = False

    def run(self) -> None:
        """Do the main job; each part prints a step."""
        self._sign_in()
        self._make_project()
        self._start_workspace()
        self._run_notebooks()
        self._review()
        builder, target = self._choose_engine()
        self._package(builder)
        self._publish(target)
        self._compare()
        self.finished = True

    def _sign_in(self) -> None:
        with self.steps.step("Sign in") as step:
            for name in ("scientist", "reviewer", "engineer"):
                self.people[name] = Person.sign_in(self.platform.url, name, self.platform.password)
            step.result = ", ".join(self.people)

    def _make_project(self) -> None:
        scientist = self.people["scientist"]
        with self.steps.step("Create the project") as step:
            name = line.free_name(scientist, "Breast cancer screening")
            goal = "Tell malignant masses from benign ones, so that urgent cases are looked at first."
            self.project = line.create_project(scientist, name, "City Hospital", goal, "screening")
            line.add_collaborators(scientist, self.project, "reviewer", "engineer")
            step.result = f"“{name}” with reviewer and engineer"
        with self.steps.step("Upload the data") as step:
            path = self.platform.home / "demo" / "biopsies.csv"
            rows = write_biopsies(path)
            scientist.upload(self.project["default_data_repo_id"], path, step.progress)
            step.result = f"{path.name}, {rows} biopsies, {path.stat().st_size / 1024:.0f} kB"

    def _start_workspace(self) -> None:
        with self.steps.step("Start a workspace") as step:
            self.workspace = line.start_workspace(
                self.people["scientist"], self.project, "Screening", step.progress, self._keep
            )
            step.result = (
                f"{self.workspace['image']}, {self.workspace['cpu']:g} CPU, {self.workspace['memory']}"
            )
            if note := self.workspace["limits"]["note"]:
                step.note(note)

    def _keep(self, workspace: Record) -> None:
        self.workspace = workspace

    def _run_notebooks(self) -> None:
        assert self.workspace is not None
        with Jupyter(self.workspace_url(), self.people["scientist"].token) as jupyter:
            for path in [*(PROJECT / "notebooks").glob("*.ipynb"), PROJECT / "model" / "predict.py"]:
                jupyter.upload(path)
            for name in NOTEBOOKS:
                with self.steps.step(f"Run {name}.ipynb") as step:
                    notebook = jupyter.run(f"{name}.ipynb", step.progress)
                    step.result = f"{sum(cell['cell_type'] == 'code' for cell in notebook['cells'])} cells"

    def _review(self) -> None:
        scientist, reviewer = self.people["scientist"], self.people["reviewer"]
        with self.steps.step("Review") as step:
            self.model = line.model_of(scientist, self.project, "screening")
            comment = "The test part was put aside before training, and recall is reported. Good."
            self.model = line.review(scientist, reviewer, self.model, comment)
            step.result = f"submitted by scientist, approved by reviewer: {self.model['status']}"

    def _choose_engine(self) -> tuple[str, str]:
        if self.engine == "none":
            return "bundle", "process"
        engineer = self.people["engineer"]
        offered = {
            kind: {item["name"]: item for item in engineer.api("GET", f"/{kind}")["items"]}
            for kind in ("builders", "targets")
        }
        found = [offered[kind].get("docker") for kind in ("builders", "targets")]
        if all(item and item["available"] for item in found):
            return "docker", "docker"
        if self.engine == "docker":
            reasons = {item["reason"] for item in found if item and item["reason"]}
            raise DemoError(
                f"No Docker engine: {'; '.join(reasons) or 'not offered here'}", "Leave --engine docker out."
            )
        return "bundle", "process"

    def _package(self, builder: str) -> None:
        scientist = self.people["scientist"]
        with self.steps.step("Package") as step:
            repository = self.platform.home / "demo" / f"{self.project['slug']}.git"
            address = line.commit_folder(PROJECT / "model", repository)
            package = line.package(
                scientist,
                self.model,
                step.progress,
                repository=address,
                script_name="predict.py",
                registry_type="none",
                builder=builder,
            )
            size = (package["size"] or 0) / 1e6
            step.result = f"{package['builder']} {package['reference']}, {size:.0f} MB"

    def _publish(self, target: str) -> None:
        engineer = self.people["engineer"]
        with self.steps.step("Publish") as step:
            self.published = line.publish(
                engineer,
                self.model,
                step.progress,
                target=target,
                replicas=1,
                cpu_request=0.25,
                cpu_limit=1,
                memory_request=0.25,
                memory_limit=0.5,
            )
            step.result = f"{target}, {self.published.endpoint['url']}"

    def _compare(self) -> None:
        assert self.published is not None
        scientist, repo = self.people["scientist"], self.project["default_data_repo_id"]
        with self.steps.step(f"Call the endpoint for {ROWS} biopsies of the test part") as step:
            self.rows = pd.read_parquet(io.BytesIO(scientist.download(repo, "X_test.parquet"))).head(ROWS)
            expected = pd.read_parquet(io.BytesIO(scientist.download(repo, "native_predictions.parquet")))[
                "native"
            ]
            equal = 0
            for number, prediction in enumerate(self._predictions()):
                step.progress(f"{number + 1} of {ROWS}")
                equal += prediction == expected[number]
            step.result = f"{equal} of {ROWS} equal the native model's predictions"
        if equal != ROWS:
            raise DemoError(f"{ROWS - equal} answers of the endpoint differ from the native model's.")

    def _predictions(self) -> Iterator[float]:
        assert self.published is not None
        assert self.rows is not None
        headers = {"Content-Type": "application/json", "apikey": self.published.api_key}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as caller:
            for index in range(len(self.rows)):
                answer = caller.post(self.published.endpoint["url"], content=self.rows.iloc[index].to_json())
                if answer.is_error:
                    raise DemoError(f"The endpoint answered {answer.status_code}: {answer.text[:300]}")
                yield float(answer.text.split(":")[-1].split("}")[0])

    def workspace_url(self) -> str:
        """Where the workspace's Jupyter server is."""
        assert self.workspace is not None
        url = str(self.workspace["url"])
        url = url if url.startswith("http") else self.platform.url + url
        return url.partition("/lab")[0].rstrip("/")

    def summary(self) -> str:
        """What a person needs to go on from here."""
        assert self.published is not None
        assert self.rows is not None
        url, key = self.published.endpoint["url"], self.published.api_key
        body = json.dumps(json.loads(self.rows.iloc[0].to_json()))
        return "\n".join(
            [
                f"A360       {self.platform.url}/services/a360/",
                f"Workspace  {self.workspace_url()}/lab",
                f"Sign in    scientist, reviewer, engineer or admin; password {self.platform.password}",
                f"Endpoint   {url}",
                "\nThis call works while it is up:\n",
                f"curl -X POST '{url}' -H 'Content-Type: application/json' -H 'apikey: {key}' -d '{body}'",
            ]
        )

    def clean_up(self) -> None:
        """Withdraw the endpoint and stop the workspace, as far as they came to be; sign out."""
        with contextlib.suppress(DemoError, httpx.HTTPError):
            if self.published is not None:
                line.withdraw(self.people["engineer"], self.model)
        with contextlib.suppress(DemoError, httpx.HTTPError):
            if self.workspace is not None:
                line.stop_workspace(self.people["scientist"], self.workspace)
        for person in self.people.values():
            person.close()


def write_biopsies(path: Path) -> int:
    """Write scikit-learn's own data set as the CSV file a laboratory might send; number of rows."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise DemoError(
            "scikit-learn is not installed, and the demo's data ships inside it.",
            "make demo installs it.",
            code=2,
        ) from None
    loaded = load_breast_cancer(as_frame=True)
    frame = loaded.data.assign(diagnosis=loaded.target.map(dict(enumerate(loaded.target_names))))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return len(frame)
