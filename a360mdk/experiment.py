"""Experiments: one approach to a model's problem, with the runs that try it."""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from a360mdk import baseline, flavors, signature
from a360mdk.artifacts import NOTEBOOKS
from a360mdk.base import Base
from a360mdk.cards import card
from a360mdk.exceptions import ExperimentError
from a360mdk.notebooks import require
from a360mdk.progress import watched
from a360mdk.run import Run

if TYPE_CHECKING:
    import pandas

    from a360mdk.main import A360AI
    from a360mdk.model import Model

_FILES = tuple(NOTEBOOKS)
_LISTED = [
    *("id", "bestRun", "model_id", "experiment_name", "best_run_id", "model_flavor"),
    *("input_signature", "output_signature", *_FILES, "baseline", "train_shape"),
    *("model_name", "version", "updated_at"),
]


class Experiment(Base):
    """An experiment of a model.

    Attributes:
        id, best_run_id, experiment_name, model_id: as on the platform.
        model_flavor: framework of its models.
        input_signature, output_signature: what goes in and out, as text.
        train_shape: shape of one row of features, ``[26]``.
        data_exploration_file, data_preparation_file, model_training_file: notebooks stored with each run.
        enable_drift_monitoring, monitoring_expected_value: whether drift is monitored, and from what.
        baseline, target_baseline: what the training data looked like, see :mod:`a360mdk.baseline`.
        feature_names: in order; train_features and train_target only in the session that gave them.
        a360ai, model: back references.
    """

    id: str | None
    best_run_id: str | None
    experiment_name: str | None
    model_id: str | None
    model_flavor: str | None
    input_signature: str | None
    output_signature: str | None
    train_shape: list[int] | None
    data_exploration_file: str | None
    data_preparation_file: str | None
    model_training_file: str | None
    enable_drift_monitoring: bool
    baseline: dict[str, Any] | None
    target_baseline: dict[str, Any] | None
    monitoring_expected_value: str | None
    feature_names: list[str] | None
    train_features: Any
    train_target: Any
    framework: str | None
    model_manifest: Any
    pipeline_name: str | None
    tokenizer: Any
    a360ai: "A360AI | None"
    model: "Model | None"

    fields: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("id", "best_run_id", "experiment_name", "model_id", "model_flavor")),
        **dict.fromkeys(("input_signature", "output_signature", "train_shape", *_FILES)),
        "enable_drift_monitoring": False,
        **dict.fromkeys(("baseline", "target_baseline", "monitoring_expected_value", "feature_names")),
        **dict.fromkeys(("train_features", "train_target", "framework", "model_manifest")),
        **dict.fromkeys(("pipeline_name", "tokenizer", "a360ai", "model")),
    }
    mutable = ("baseline", *_FILES, "enable_drift_monitoring", "monitoring_expected_value")
    error = ExperimentError

    def __repr__(self) -> str:
        of = f" of {self.model.model_name} {self.model.version}" if self.model is not None else ""
        final = f", final run {self.best_run_id}" if self.best_run_id else ""
        return f"<Experiment {self.experiment_name}{of}: {self.model_flavor}{final}>"

    def _repr_html_(self) -> str:
        model = self.model
        facts = {
            "Model": f"{model.model_name} {model.version}" if model is not None else None,
            "Flavor": self.model_flavor,
            "Input": self.input_signature,
            "Output": self.output_signature,
            "Drift monitoring": self.enable_drift_monitoring,
            "Final run": self.best_run_id or "none yet",
            "Notebooks": ", ".join(str(getattr(self, name)) for name in _FILES if getattr(self, name)),
            "Identifier": self.id,
        }
        return card(f"Experiment {self.experiment_name}", facts)

    @property
    def interface(self) -> "A360AI":
        """The interface it came from.

        Raises:
            ExperimentError: it was made by hand.
        """
        if self.a360ai is None:
            raise ExperimentError(
                "This experiment is not on the platform.",
                "It was made by hand and belongs to no project.",
                "Use model.get_or_create_experiment(...).",
            )
        return self.a360ai

    def _change(self, name: str, value: Any) -> None:
        if name in _FILES:
            require(name, value)
        if self.id is not None:
            self.update({name: value})
        else:
            self._load({name: value})

    def update(self, changes: dict[str, Any]) -> None:
        """Change fields on the platform and here.

        Args:
            changes: new values by field.
        """
        if changes:
            document = self.interface.client.patch(f"/experiments/{self.id}", ExperimentError, changes)
            self._load({name: document[name] for name in self.fields if name in document})

    def run_experiment(self) -> Run:
        """Return a new run for a ``with`` statement; it starts when the block is entered."""
        return Run(self)

    def list_runs(self, include_failed: bool = False) -> "pandas.DataFrame":
        """List the finished runs.

        Args:
            include_failed: also runs that failed or are under way, with the columns status and error.

        Returns:
            DataFrame with id, dataset, artifact_paths (key by artifact name), then ``metric_*``,
            ``hyperparameter_*`` and ``metadata_*``; oldest first.
        """
        import pandas

        fixed = ["id", "dataset", "artifact_paths", *(["status", "error"] if include_failed else [])]
        rows = []
        found = self.interface.client.items(
            f"/experiments/{self.id}/run-table", ExperimentError, {"limit": 1000}
        )
        for run in watched(found, "List runs", " runs"):
            if run["status"] != "finished" and not include_failed:
                continue
            row = {name: run.get(name) for name in fixed}
            for prefix, group in _GROUPS.items():
                row |= {f"{prefix}_{name}": value for name, value in (run.get(group) or {}).items()}
            rows.append((run.get("started_at") or "", run["id"], row))
        frame = pandas.DataFrame([row for _, _, row in sorted(rows, key=lambda entry: entry[:2])])
        logged = [
            column
            for prefix in _GROUPS
            for column in frame.columns
            if column.startswith(f"{prefix}_") and column not in fixed
        ]
        return frame.reindex(columns=[*fixed, *(logged or ["metadata_run_time"])])

    def summary(self) -> str:
        """The block printed when the experiment is loaded: one ``Label: value`` line each."""
        model = self.model
        lines = {
            "Model Name": model.model_name if model else None,
            "Model Version": model.version if model else None,
            "Experiment Name": self.experiment_name,
            "Final Run Id": self.best_run_id,
            "Model Flavor": self.model_flavor,
            "Input Signature": self.input_signature,
            "Output Signature": self.output_signature,
            "Data Exploration File": self.data_exploration_file,
            "Data Preparation File": self.data_preparation_file,
            "Model Training File": self.model_training_file,
            "Drift Monitoring Enabled": self.enable_drift_monitoring,
        }
        return "\n".join(
            ["//-- Experiment Loaded --//", *(f"{name}: {value}" for name, value in lines.items())]
        )


_GROUPS = {"metric": "metrics", "hyperparameter": "hyperparameters", "metadata": "metadata"}


def get_or_create(
    model: "Model",
    experiment_name: str,
    model_flavor: str | None = None,
    *,
    enable_drift_monitoring: bool | None = None,
    train_features: Any = None,
    train_target: Any = None,
    feature_names: Sequence[str] | None = None,
    monitoring_expected_value: str | None = None,
    pipeline_name: str | None = None,
    tokenizer: Any = None,
    framework: str | None = None,
    features_needed: bool = True,
    width: int | None = None,
    **files: str | None,
) -> Experiment:
    """Load the experiment of this name, or create it; see ``Model.get_or_create_experiment``."""
    if not experiment_name or not str(experiment_name).strip():
        raise ExperimentError(
            "An experiment needs a name.", "Runs are found by it.", 'Pass experiment_name="...".'
        )
    existing = _find(model, str(experiment_name))
    if existing is None:
        flavors.get(model_flavor)
    files = {name: str(file) for name, file in files.items() if file is not None}
    for name, file in files.items():
        require(name, file)
    monitored = bool(
        enable_drift_monitoring
        if enable_drift_monitoring is not None
        else existing and existing["enable_drift_monitoring"]
    )
    if feature_names is None and existing and not hasattr(train_features, "columns"):
        feature_names = existing["feature_names"] or None
    names = baseline.feature_names_of(train_features, feature_names, monitored)
    fields = {**files, **_monitoring(enable_drift_monitoring, monitoring_expected_value)}
    if monitored:
        expected = monitoring_expected_value or (existing or {}).get("monitoring_expected_value") or "mean"
        fields |= baselines(train_features, train_target, names, expected)
    given = {
        "train_features": train_features,
        "train_target": train_target,
        "tokenizer": tokenizer,
        "model": model,
        "a360ai": model.a360ai,
    }
    if existing is not None:
        experiment = Experiment.from_document(existing, **given)
        _warn_if_other_data(experiment, train_features)
        experiment.update({name: value for name, value in fields.items() if existing.get(name) != value})
        return experiment
    check_training_data(train_features, train_target, feature_names, monitored, features_needed)
    fields |= {
        "experiment_name": str(experiment_name),
        "model_flavor": model_flavor,
        **_signatures(train_features, train_target, width),
        "feature_names": names,
        "pipeline_name": pipeline_name,
        "framework": framework,
    }
    document = model.interface.client.post(
        f"/models/{model.id}/experiments",
        ExperimentError,
        {name: value for name, value in fields.items() if value is not None},
        repeatable=True,
    )
    return Experiment.from_document(document, **given)


def _monitoring(enabled: bool | None, expected_value: str | None) -> dict[str, Any]:
    """The fields of monitoring that the user gave."""
    if expected_value not in (None, *baseline.EXPECTED_VALUES):
        raise ExperimentError(
            f"monitoring_expected_value {expected_value!r} is unknown.",
            "It says what a baseline expects of a feature.",
            "Use mean or median.",
        )
    given = {
        "enable_drift_monitoring": None if enabled is None else bool(enabled),
        "monitoring_expected_value": expected_value,
    }
    return {name: value for name, value in given.items() if value is not None}


def baselines(
    train_features: Any, train_target: Any, names: Sequence[str], expected_value: str
) -> dict[str, Any]:
    """Return the fields ``baseline`` and ``target_baseline`` for the data that was given."""
    found: dict[str, Any] = {}
    if train_features is not None:
        found["baseline"] = baseline.of_features(train_features, names, expected_value)
    if train_target is not None:
        found["target_baseline"] = baseline.of_target(train_target, expected_value)
    return found


def monitored(
    existing: Experiment, train_features: Any, feature_names: Sequence[str] | None, train_target: Any
) -> dict[str, Any]:
    """Return the baselines that an experiment gets later, in the order its own features have.

    Raises:
        ExperimentError: names are missing, or are other ones than the experiment was created with.
    """
    own = existing.feature_names or []
    if feature_names is None and own and not hasattr(train_features, "columns"):
        feature_names = own
    names = baseline.feature_names_of(train_features, feature_names, monitored=train_features is not None)
    found = baselines(train_features, train_target, names, existing.monitoring_expected_value or "mean")
    if "baseline" not in found or not own:
        return found
    if set(own) != set(names):
        raise ExperimentError(
            "Drift monitoring was not enabled: these are not the features of the experiment.",
            f"It was created with {', '.join(own)}; given are {', '.join(names)}.",
            "Pass the features the experiment was created with.",
        )
    # The keys of the baseline are the feature names in order: deployment scripts read them so.
    return {**found, "baseline": {name: found["baseline"][name] for name in own}}


def documents(model: "Model") -> Iterator[dict[str, Any]]:
    """Yield the experiments of a model as the service gives them."""
    yield from model.interface.client.items(f"/models/{model.id}/experiments", ExperimentError)


def listing(model: "Model") -> "pandas.DataFrame":
    """Return the experiments of a model as ``Model.list_experiments`` shows them."""
    import pandas

    client = model.interface.client
    rows = []
    for document in documents(model):
        best = document.get("best_run_id")
        run = client.get(f"/runs/{best}", ExperimentError) if best else None
        more = {
            "bestRun": run,
            "baseline": baseline.shown(document.get("baseline")),
            "model_name": model.model_name,
            "version": model.version,
        }
        rows.append({**document, **more})
    return pandas.DataFrame(rows, columns=_LISTED)


def _signatures(train_features: Any, train_target: Any, width: int | None) -> dict[str, Any]:
    """Signatures and shape of the data; of a model without any, what its number of columns says."""
    given = train_features is not None
    shape = signature.train_shape(train_features) if given else [width] if width is not None else []
    return {
        "input_signature": signature.infer(train_features) if given else signature.of_width(width),
        "output_signature": signature.infer(train_target) if train_target is not None else signature.UNKNOWN,
        "train_shape": shape,
    }


def _find(model: "Model", name: str) -> dict[str, Any] | None:
    return next((found for found in documents(model) if found["experiment_name"] == name), None)


def check_training_data(
    train_features: Any, train_target: Any, feature_names: Sequence[str] | None, monitored: bool, needed: bool
) -> None:
    """Check what a new experiment is given, before anything is created.

    Raises:
        ExperimentError: features or their names are missing or do not fit.
    """
    baseline.feature_names_of(train_features, feature_names, monitored)
    if train_features is not None or not (needed or (monitored and train_target is None)):
        return
    raise ExperimentError(
        "The experiment was not created: it needs train_features.",
        "The input signature is inferred from them" + (", and the drift baseline." if monitored else "."),
        "Pass train_features=X_train (a DataFrame or ndarray) and train_target=y_train.",
    )


def _warn_if_other_data(experiment: Experiment, train_features: Any) -> None:
    if train_features is None or experiment.input_signature in (None, signature.UNKNOWN):
        return
    found = signature.infer(train_features)
    if found != experiment.input_signature:
        warnings.warn(
            f"The experiment {experiment.experiment_name} was created with other features: its input "
            f"signature is '{experiment.input_signature}', train_features has '{found}'. It keeps its "
            "own; use a new experiment_name for other features.",
            UserWarning,
            stacklevel=4,
        )
