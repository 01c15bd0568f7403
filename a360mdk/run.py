"""Runs: one training with one set of hyperparameters."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from a360mdk import closing, flavors, open_runs, values
from a360mdk.artifacts import NOTEBOOKS, Artifact
from a360mdk.base import Base
from a360mdk.cards import card, listed
from a360mdk.client import Client, Unreachable
from a360mdk.exceptions import RunError
from a360mdk.heartbeat import Heartbeat
from a360mdk.notebooks import require

if TYPE_CHECKING:
    from a360mdk.datarepo import DataRepo
    from a360mdk.experiment import Experiment

_FILES = tuple(NOTEBOOKS)


class Run(Base):
    """A run, used as ``with experiment.run_experiment() as run:``.

    What is logged inside the block is stored when the block ends: model, native copy, preprocessor, baseline
    and notebooks go to the data repo, then the run is registered with them. When the block raises, the run is
    marked failed with the error, and nothing is stored.

    Args:
        experiment: what it belongs to.
        more: the fields of Attributes.

    Attributes:
        id, model_experiment_id: identifiers.
        metadata, hyperparameters, metrics: what was logged.
        trained_model, preprocessor, preprocessor_shape: what log_model and log_preprocessor were given.
        baseline: expected value and deviation per feature.
        data_exploration_file, data_preparation_file, model_training_file: notebooks stored with the run.
        dataset: the data sets used; those this kernel has read, as ``name@commit``, when nothing is set.
    """

    id: str | None
    model_experiment_id: str | None
    status: str | None
    metadata: dict[str, Any]
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any]
    trained_model: Any
    baseline: dict[str, Any] | None
    preprocessor: Any
    preprocessor_shape: int | None
    data_exploration_file: str | None
    data_preparation_file: str | None
    model_training_file: str | None
    dataset: str | None
    framework: str | None
    pipeline_name: str | None
    tokenizer: Any

    fields: ClassVar[dict[str, Any]] = {
        "id": None,
        "model_experiment_id": None,
        "status": None,
        "metadata": None,
        "hyperparameters": None,
        "metrics": None,
        "trained_model": None,
        "baseline": None,
        "preprocessor": None,
        "preprocessor_shape": None,
        **dict.fromkeys(_FILES),
        "dataset": None,
        "framework": None,
        "pipeline_name": None,
        "tokenizer": None,
    }
    mutable = ("baseline", "preprocessor", "preprocessor_shape", "dataset", *_FILES)
    error = RunError
    _heartbeat: Heartbeat

    def __init__(self, experiment: "Experiment | None" = None, **more: Any) -> None:
        super().__init__(**more)
        for name in ("metadata", "hyperparameters", "metrics"):
            self._load({name: dict(getattr(self, name) or {})})
        self._experiment = experiment
        self._state: dict[str, Any] = {}
        self._started = 0.0
        if experiment is not None:
            taken = ("baseline", "framework", "pipeline_name", "tokenizer", *_FILES)
            self._load({name: getattr(experiment, name) for name in taken})
            self._load({"model_experiment_id": experiment.id})
        self._artifacts: list[Artifact] = []
        self._certificate: dict[str, Any] | None = None

    def __repr__(self) -> str:
        of = f" of {self._experiment.experiment_name}" if self._experiment is not None else ""
        logged = f", {listed(self.metrics)}" if self.metrics else ""
        return f"<Run {self.id}{of}: {self.status or 'not started'}{logged}>"

    def _repr_html_(self) -> str:
        facts = {
            "State": self.status or "not started",
            "Experiment": self._experiment.experiment_name if self._experiment is not None else None,
            "Metrics": self.metrics,
            "Hyperparameters": self.hyperparameters,
            "Metadata": self.metadata,
            "Data set": self.dataset,
            "Artifacts": ", ".join(artifact.name for artifact in self._artifacts),
        }
        return card(f"Run {self.id or ''}".strip(), facts)

    # What the close of the run needs

    @property
    def experiment(self) -> "Experiment":
        """The experiment it belongs to."""
        if self._experiment is None:
            raise RunError(
                "This run belongs to no experiment.",
                "It was made by hand.",
                "Use experiment.run_experiment().",
            )
        return self._experiment

    @property
    def client(self) -> Client:
        """Connection to the service."""
        return self.experiment.interface.client

    @property
    def data_repo(self) -> "DataRepo":
        """Where its artifacts go."""
        return self.experiment.interface.data_repo(self._state["data_repo_id"])

    @property
    def artifact_prefix(self) -> str:
        """Folder of its artifacts in the data repo."""
        return str(self._state["artifact_prefix"])

    @property
    def train_features(self) -> Any:
        """The experiment's training features, where this notebook gave them."""
        return self.experiment.train_features

    @property
    def artifacts(self) -> list[Artifact]:
        """What it stored, once closed."""
        return list(self._artifacts)

    @property
    def certificate(self) -> dict[str, Any] | None:
        """What was compared when it was closed: opset, versions, checks; None without any."""
        return self._certificate

    def certify(self, certificate: dict[str, Any]) -> None:
        """Keep the certificate its close made.

        Args:
            certificate: as the service takes it.
        """
        self._certificate = certificate

    # Logging

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Log hyperparameters; later values of a name win.

        Args:
            hyperparameters: value by name.
        """
        self._open("log_hyperparameters")
        self.hyperparameters.update(values.logged("hyperparameters", hyperparameters, RunError))

    def log_metrics(self, metrics: dict[str, Any]) -> None:
        """Log metrics; later values of a name win.

        Args:
            metrics: number by name.
        """
        self._open("log_metrics")
        self.metrics.update(values.logged("metrics", metrics, RunError))

    def log_metadata(self, metadata: dict[str, Any]) -> None:
        """Log anything else worth keeping; ``run_time`` (seconds) is added by itself.

        Args:
            metadata: value by name.
        """
        self._open("log_metadata")
        self.metadata.update(values.logged("metadata", metadata, RunError))

    def log_model(self, model: Any) -> None:
        """Log the trained model; of a search object the best estimator counts.

        Args:
            model: the fitted model, in memory.

        Raises:
            RunError: it is not fitted, or not a model of the experiment's flavor.
        """
        self._open("log_model")
        self._load({"trained_model": flavors.get(self.experiment.model_flavor).unwrap(model)})

    def log_preprocessor(self, preprocessor: Any, preprocessor_shape: int | None = None) -> None:
        """Log one fitted scikit-learn preprocessor or Pipeline.

        Args:
            preprocessor: the object.
            preprocessor_shape: number of input columns.

        Raises:
            RunError: it is not fitted, or takes another number of columns.
        """
        self._open("log_preprocessor")
        sklearn = flavors.get("sklearn")
        fitted = sklearn.unwrap(preprocessor)
        width = sklearn.width(fitted)
        if preprocessor_shape is not None and width is not None and int(preprocessor_shape) != width:
            raise RunError(
                "The preprocessor was not logged.",
                f"preprocessor_shape is {preprocessor_shape}, but it was fitted on {width} columns.",
                f"Pass preprocessor_shape={width}, the number of its inputs.",
            )
        shape = width if preprocessor_shape is None else int(preprocessor_shape)
        self._load({"preprocessor": fitted, "preprocessor_shape": shape})

    def _open(self, action: str) -> None:
        if self.status != "running":
            raise RunError(
                f"{action} has no open run.",
                f"The run is {self.status or 'not started'}.",
                "Log inside the block: with experiment.run_experiment() as run: ...",
            )

    def _change(self, name: str, value: Any) -> None:
        self._open(f"Setting {name}")
        if name in _FILES:
            require(name, value)
        self._load({name: value})

    # Life

    def __enter__(self) -> Self:
        if self.status is not None:
            raise RunError(
                "A run can be entered once.",
                f"This one is {self.status} already.",
                "Call experiment.run_experiment() again.",
            )
        for name in _FILES:
            require(name, getattr(self, name))
        path = f"/experiments/{self.model_experiment_id}/runs"
        document = self.client.post(path, RunError, {"lease": True})
        self._state = document
        # Asked for now: at the end the service may be away, and then the error is one of the run.
        self.experiment.interface.data_repo(document["data_repo_id"])
        self._load({"id": document["id"], "status": "running"})
        open_runs.mark(document["id"])
        self._heartbeat = Heartbeat(self.client, document)
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.metadata["run_time"] = round(time.monotonic() - self._started, 3)
        try:
            if error is not None:
                self.report_failure(error)
                return
            try:
                self._artifacts = closing.close(self)
            except BaseException:
                self._load({"status": "failed"})
                raise
            self._load({"status": "finished"})
        finally:
            self._heartbeat.stop()
            open_runs.unmark(str(self.id))

    def log_document(self) -> dict[str, Any]:
        """What the service is told of the run besides its artifacts."""
        document = {
            "hyperparameters": self.hyperparameters,
            "metrics": self.metrics,
            "metadata": self.metadata,
        }
        # Named by the user, or else what this kernel has read, with the commits.
        interface = self._experiment.a360ai if self._experiment is not None else None
        dataset = self.dataset or (interface.data_read if interface is not None else None)
        self._load({"dataset": dataset})
        return document if dataset is None else {**document, "dataset": str(dataset)}

    def report_failure(self, error: BaseException) -> bool:
        """Mark the run failed; return whether the service knows.

        A silent service changes nothing for the user: the error itself is the news, and gets a note.

        Args:
            error: what ended the run.
        """
        self._load({"status": "failed"})
        body = {
            **self.log_document(),
            "status": "failed",
            "error": closing.describe_failure(error),
            "artifacts": [],
        }
        try:
            response = self.client.send("POST", f"/runs/{self.id}/finish", body=body, repeatable=True)
            reason = "" if response.ok else f"the service answered {response.status_code}"
        except Unreachable as lost:
            reason = str(lost)
        if reason:
            error.add_note(f"A360 could not mark the run {self.id} as failed: {reason}.")
        return not reason
