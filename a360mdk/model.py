"""Models: one business problem on its way from experiments to an endpoint."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urljoin

from a360mdk import artifacts, experiment, flavors
from a360mdk.artifacts import Artifact
from a360mdk.base import Base
from a360mdk.cards import card
from a360mdk.display import show_link
from a360mdk.exceptions import ArtifactError, ExperimentError, ModelError
from a360mdk.experiment import Experiment
from a360mdk.model_names import may_name_the_model
from a360runtime.paths import resolve

if TYPE_CHECKING:
    import pandas

    from a360mdk.main import A360AI

MAX_VERSION = 12
SHORT_NAME = 15
_LOWER_IS_BETTER = (
    *("error", "errors", "loss", "mae", "mse", "rmse", "mape", "smape", "wape", "msle", "rmsle", "medae"),
    *(
        "logloss",
        "mlogloss",
        "deviance",
        "perplexity",
        "brier",
        "hinge",
        "wer",
        "cer",
        "aic",
        "bic",
        "crossentropy",
    ),
)
_PHASES = {
    "In Development": ("Draft", "In Review", "Needs Revisions"),
    "Packaging": (
        "Ready to Package",
        "Packaging",
        "Package Failed",
        "Ready to Publish",
        "Publishing",
        "Publish Failed",
    ),
    "Published": ("Published",),
    "Terminated": ("Terminated",),
}


class Model(Base):
    """A model of the project.

    Args:
        detail_url: address of the model's page, as the service gives it.
        values: the fields of Attributes.

    Attributes:
        id, model_name, version, model_type: as on the platform.
        sub_status: its state, from Draft to Terminated.
        status: the phase the state belongs to: In Development, Packaging, Published or Terminated.
        best_experiment_id, best_run_id: the final run.
        imported: trained elsewhere.
        a360ai: the interface it came from.
    """

    id: str | None
    model_name: str | None
    version: str | None
    model_type: str | None
    status: str | None
    sub_status: str | None
    best_experiment_id: str | None
    best_run_id: str | None
    imported: bool | None
    a360ai: "A360AI | None"

    fields: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("id", "model_name", "version", "model_type", "status", "sub_status")),
        **dict.fromkeys(("best_experiment_id", "best_run_id", "imported", "a360ai")),
    }
    mutable = ("status", "sub_status", "best_experiment_id", "best_run_id")
    error = ModelError

    def __init__(self, detail_url: str | None = None, **values: Any) -> None:
        super().__init__(**values)
        self._detail_url = detail_url

    def __repr__(self) -> str:
        final = f", final run {self.best_run_id}" if self.best_run_id else ""
        return f"<Model {self.model_name} {self.version}: {self.sub_status or 'not on the platform'}{final}>"

    def _repr_html_(self) -> str:
        facts = {
            "State": self.sub_status,
            "Type": self.model_type,
            "Final run": self.best_run_id or "none yet",
            "Imported": self.imported or None,
            "Identifier": self.id,
        }
        return card(f"Model {self.model_name} {self.version}", facts, self._detail_url)

    @classmethod
    def of(cls, document: dict[str, Any], a360ai: "A360AI") -> "Model":
        """Make it from the service's document.

        Args:
            document: what the service answered.
            a360ai: the interface.
        """
        return cls.from_document(_with_phase(document), a360ai=a360ai, detail_url=document.get("detail_url"))

    @property
    def interface(self) -> "A360AI":
        """The interface it came from.

        Raises:
            ModelError: it was made by hand.
        """
        if self.a360ai is None:
            raise ModelError(
                "This model is not on the platform.",
                "It was made by hand and belongs to no project.",
                "Use a360ai.get_or_create_model(...).",
            )
        return self.a360ai

    def _change(self, name: str, value: Any) -> None:
        raise ModelError(
            f"Model.{name} is not set by hand.",
            "The platform sets status and sub_status; the best run is chosen with its experiment.",
            "Use model.set_final_run(experiment, run_id); review, packaging and publishing do the rest.",
        )

    def refresh(self) -> None:
        """Read the model's fields from the platform again."""
        document = _with_phase(self.interface.client.get(f"/models/{self.id}", ModelError))
        self._load({name: document[name] for name in self.fields if name in document})

    @may_name_the_model
    def get_or_create_experiment(
        self,
        experiment_name: str,
        model_flavor: str | None = None,
        train_features: Any = None,
        train_target: Any = None,
        enable_drift_monitoring: bool | None = None,
        feature_names: Sequence[str] | None = None,
        data_exploration_file: str | None = None,
        data_preparation_file: str | None = None,
        model_training_file: str | None = None,
        pipeline_name: str | None = None,
        tokenizer: Any = None,
        framework: str | None = None,
        monitoring_expected_value: str | None = None,
    ) -> Experiment:
        """Load the experiment of this name, or create it; print its summary.

        The model's own name and version may stand in front, as in ``a360ai.get_or_create_experiment``.

        Args:
            experiment_name: unique in the model.
            model_flavor: for example "sklearn" or "xgboost".
            train_features: DataFrame or ndarray (rows, columns); gives input signature and baseline.
            train_target: Series, DataFrame or ndarray (rows,); gives output signature and target baseline.
            enable_drift_monitoring: compute and store baselines. False when left out.
            feature_names: in column order; needed for drift with an ndarray.
            data_exploration_file, data_preparation_file, model_training_file: notebooks stored with each run.
            pipeline_name, tokenizer, framework: for flavors that need them.
            monitoring_expected_value: "mean" (default) or "median".

        Raises:
            ExperimentError: something is missing or does not fit; nothing is created then.
        """
        loaded = experiment.get_or_create(
            self,
            experiment_name,
            model_flavor,
            enable_drift_monitoring=enable_drift_monitoring,
            train_features=train_features,
            train_target=train_target,
            feature_names=feature_names,
            monitoring_expected_value=monitoring_expected_value,
            pipeline_name=pipeline_name,
            tokenizer=tokenizer,
            framework=framework,
            data_exploration_file=data_exploration_file,
            data_preparation_file=data_preparation_file,
            model_training_file=model_training_file,
        )
        self.interface.remember_experiment(loaded)
        print(loaded.summary())
        return loaded

    def list_experiments(self) -> "pandas.DataFrame":
        """List the model's experiments: names, signatures, files, baseline and best run of each."""
        return experiment.listing(self)

    def set_final_run(self, experiment: Experiment, best_run_id: str) -> None:
        """Choose the run that is reviewed, packaged and published.

        Args:
            experiment: the run's experiment.
            best_run_id: its id, for example from ``experiment.list_runs()``.

        Raises:
            ModelError: no such run, a run without a model, or a model that may not change now.
        """
        body = {"experiment_id": str(experiment.id), "run_id": str(best_run_id)}
        self.interface.client.put(f"/models/{self.id}/final-run", ModelError, body)
        self._load({"best_experiment_id": experiment.id, "best_run_id": str(best_run_id)})
        experiment._load({"best_run_id": str(best_run_id)})

    def set_final_run_by_metric(
        self, experiment: Experiment, metric: str, greater_is_better: bool | None = None
    ) -> str:
        """Choose the run with the best value of a metric; return its id.

        Args:
            experiment: where to look.
            metric: name without prefix, for example "train_score".
            greater_is_better: None decides by the name: errors and losses are better when small, except those
                that scikit-learn negates (neg_...).

        Raises:
            ModelError: no finished run has this metric as a number.
        """
        import pandas

        runs = experiment.list_runs()
        column = f"metric_{metric}"
        # Texts and lists can be logged as well; they say nothing of which run is better.
        values = pandas.to_numeric(runs.get(column, pandas.Series(dtype=float)), errors="coerce").dropna()
        if values.empty:
            names = sorted(name[7:] for name in runs.columns if name.startswith("metric_"))
            raise ModelError(
                f"No finished run of {experiment.experiment_name} has the metric {metric!r} as a number.",
                f"Metrics there: {', '.join(names) or 'none'}.",
                "Name one of these, without the prefix metric_.",
            )
        if greater_is_better is None:
            greater_is_better = greater_is_better_by_name(metric)
        numbers = values.to_numpy()
        best = int(numbers.argmax() if greater_is_better else numbers.argmin())
        run_id = str(runs["id"].loc[values.index].iloc[best])
        self.set_final_run(experiment, run_id)
        print(f"Final run: {run_id} ({metric} = {numbers[best]})")
        return run_id

    def get_artifact(self, name: str, path: str | os.PathLike[str] = ".") -> Any:
        """Download an artifact of the final run and open it.

        Args:
            name: trained_model, trained_model_native, preprocessor, baseline, or one of the notebooks.
            path: folder; the file gets the artifact's name there.

        Returns:
            An ``a360runtime.ONNXModel``; the object itself of a native model; a dict of a baseline; the path
            of a notebook.

        Raises:
            ArtifactError: no final run, no such artifact, or a file that is not what the run stored.
        """
        self.refresh()  # it may have been chosen elsewhere since
        if not self.best_run_id:
            raise ArtifactError(
                f"{name} was not loaded: {self.model_name} {self.version} has no final run.",
                "Artifacts of a model are those of its final run.",
                "Choose one: model.set_final_run(experiment, run_id).",
            )
        run = self.interface.client.get(f"/runs/{self.best_run_id}", ArtifactError)
        found = {document["name"]: Artifact.from_document(document) for document in run["artifacts"]}
        if name not in found:
            raise ArtifactError(
                f"The final run has no artifact {name!r}.",
                f"It has: {', '.join(sorted(found)) or 'none'}.",
                "Name one of these.",
            )
        repo = self.interface.data_repo(run["data_repo_id"])
        file = artifacts.fetch(repo, found[name], resolve(path))
        return self._opened(found[name], file)

    def _opened(self, artifact: Artifact, file: Path) -> Any:
        if artifact.kind == "native_model":
            document = self.interface.client.get(f"/experiments/{self.best_experiment_id}", ArtifactError)
            return flavors.get(document["model_flavor"]).load(file)
        if artifact.kind in ("model", "preprocessor"):
            from a360runtime.onnx_model import ONNXModel

            return ONNXModel(file)
        if artifact.kind == "baseline":
            import json

            return json.loads(file.read_text())
        return str(file)

    def enable_drift_monitoring(
        self, train_features: Any = None, feature_names: Sequence[str] | None = None, train_target: Any = None
    ) -> Experiment:
        """Give the best experiment baselines for drift after the fact; return it.

        A package made from now on has them, where the final run stored no baseline of its own.

        Args:
            train_features: DataFrame, or ndarray (or list of rows) with ``feature_names``.
            feature_names: in column order.
            train_target: Series or ndarray.

        Raises:
            ModelError: no final run yet.
            ExperimentError: neither features nor target, names missing, or other features than trained with.
        """
        self.refresh()
        if not self.best_experiment_id:
            raise ModelError(
                "Drift monitoring was not enabled: the model has no final run.",
                "It belongs to the experiment of the final run.",
                "Choose one first: model.set_final_run(experiment, run_id).",
            )
        if train_features is None and train_target is None:
            raise ExperimentError(
                "Drift monitoring was not enabled: it needs train_features, train_target or both.",
                "Without training data there is nothing to compare with.",
                "Pass them to model.enable_drift_monitoring(...).",
            )
        document = self.interface.client.get(f"/experiments/{self.best_experiment_id}", ExperimentError)
        best = Experiment.from_document(document, model=self, a360ai=self.a360ai)
        best.update(
            {
                "enable_drift_monitoring": True,
                **experiment.monitored(best, train_features, feature_names, train_target),
            }
        )
        return best

    def get_model_detail_page(self) -> None:
        """Show a link to the model's page in the console."""
        base = self.interface.client.base_url
        place = self._detail_url or f"{base.split('/api/')[0]}/models/{self.id}"
        show_link(place, urljoin(base, place), f"{self.model_name} {self.version}")


def checked_names(model_name: str, version: str) -> tuple[str, str]:
    """Check name and version before anything is asked of the service.

    Raises:
        ModelError: empty name, or a version that is empty, no text, or longer than 12 characters.
    """
    if not isinstance(model_name, str) or not model_name.strip():
        raise ModelError(
            "A model needs a name.", f"model_name is {model_name!r}.", 'Pass model_name="churn_pred".'
        )
    if not isinstance(version, str) or not version.strip() or len(version) > MAX_VERSION:
        raise ModelError(
            f"The version {version!r} cannot be used.",
            f"A version is text of 1 to {MAX_VERSION} characters.",
            'Pass a shorter one, for example version="1.0".',
        )
    if len(model_name) > SHORT_NAME:
        warnings.warn(
            f"The name {model_name} is longer than {SHORT_NAME} characters: monitoring shows it as "
            f"{model_name[:SHORT_NAME]}.",
            UserWarning,
            stacklevel=4,
        )
    return model_name, version


def greater_is_better_by_name(metric: str) -> bool:
    """Whether more of a metric is better: of scores, and of errors that are negated.

    The words of the name decide, not their letters: "rmse_test" and "valLoss" are errors, "mass" is none.
    """
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+", metric)
    lower = [word.lower() for word in words]
    if {"neg", "negative"} & set(lower):
        return True
    return not any(word in _LOWER_IS_BETTER or word.endswith(("error", "loss")) for word in lower)


def _with_phase(document: dict[str, Any]) -> dict[str, Any]:
    state = document["status"]
    phase = next((phase for phase, states in _PHASES.items() if state in states), state)
    return {**document, "status": phase, "sub_status": state}
