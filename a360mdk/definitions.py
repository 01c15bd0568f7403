"""Models and their experiments as YAML files: one syntax, read strictly and written so that it can be read.

The whole of it, only ``model_name`` being needed::

    model_name: churn_pred
    version: "1.0"
    model_type: classification
    experiments:
      - experiment_name: Random forest
        model_flavor: sklearn
        train_features: churn.csv      # a data set of the default data repo
        target_column: Churn           # a column of it; or train_target: another data set
        enable_drift_monitoring: true
        monitoring_expected_value: mean
        data_exploration_file: exploration.ipynb
        data_preparation_file: preparation.ipynb
        model_training_file: training.ipynb

``best_experiment_id`` and ``best_run_id`` are written for the record; reading them chooses no final run.
"""

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a360mdk.artifacts import NOTEBOOKS
from a360mdk.exceptions import ExperimentError, ModelError
from a360mdk.writing import replacing
from a360runtime.paths import resolve

if TYPE_CHECKING:
    from a360mdk.model import Model

_TEXT, _BOOL, _TEXTS, _NUMBERS = "text", "true or false", "a list of texts", "a list of numbers"
_MODEL = dict.fromkeys(("model_name", "version", "model_type", "best_experiment_id", "best_run_id"), _TEXT)
_DECLARED = {"input_signature": _TEXT, "output_signature": _TEXT, "train_shape": _NUMBERS}
_EXPERIMENT = {
    **dict.fromkeys(("experiment_name", "model_flavor"), _TEXT),
    **dict.fromkeys(("train_features", "train_target", "target_column"), _TEXT),
    "feature_names": _TEXTS,
    "enable_drift_monitoring": _BOOL,
    "monitoring_expected_value": _TEXT,
    **dict.fromkeys((*NOTEBOOKS, "pipeline_name", "framework"), _TEXT),
    **_DECLARED,
}
_DATA = ("train_features", "train_target", "target_column")
EXPERIMENTS = "experiments"


@dataclass(frozen=True)
class Definition:
    """What a file defines.

    Attributes:
        path: the file.
        model: model_name, and version and model_type where it says them.
        experiments: fields of each experiment, as in the file.
    """

    path: Path
    model: dict[str, str]
    experiments: list[dict[str, Any]] = field(default_factory=list)


def write(model: "Model", local_path: str | os.PathLike[str], experiments: bool = False) -> Path:
    """Write a model's definition; into a folder as ``<model_name>.yaml``.

    Args:
        model: the model.
        local_path: file or folder.
        experiments: also its experiments, with their signatures in place of training data.
    """
    import yaml

    from a360mdk.experiment import documents

    path = resolve(local_path)
    if path.is_dir():
        path = path / f"{model.model_name}.yaml"
    content: dict[str, Any] = {name: getattr(model, name) for name in _MODEL}
    if experiments:
        content[EXPERIMENTS] = [
            {name: document[name] for name in _EXPERIMENT if document.get(name) not in (None, [])}
            for document in documents(model)
        ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as sink:
            sink.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise ModelError(
            f"The model definition {path} was not written.", str(error), "Choose another file or folder."
        ) from error
    return path


def read(local_path: str | os.PathLike[str]) -> Definition:
    """Read a definition.

    Args:
        local_path: the file.

    Raises:
        ModelError: it cannot be read, lacks model_name, or says something that is not of the syntax.
        ExperimentError: the same in one of its experiments.
    """
    import yaml

    path = resolve(local_path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ModelError(
            f"The model definition {path} cannot be read.", str(error), "Check path and file."
        ) from error
    reader = _Reader(path)
    if root is None:
        raise reader.refused(ModelError, 1, "it is empty", "Write model_name: churn_pred, for example.")
    found = reader.mapping(root, {**_MODEL, EXPERIMENTS: ""}, ModelError)
    if not found.get("model_name"):
        raise reader.refused(
            ModelError, 1, "the key model_name is missing", "Write model_name: churn_pred, for example."
        )
    model: dict[str, str] = {
        name: found[name] for name in ("model_name", "version", "model_type") if name in found
    }
    return Definition(path, model, reader.experiments(found.get(EXPERIMENTS)))


def create_experiments(model: "Model", definition: Definition) -> None:
    """Load or create a definition's experiments.

    Args:
        model: the model they belong to.
        definition: what :func:`read` returned.

    Raises:
        ExperimentError: one is on the platform already and is another, or lacks what a new one needs.
    """
    from a360mdk.experiment import documents

    there = {document["experiment_name"]: document for document in documents(model)}
    for given in definition.experiments:
        name, existing = given["experiment_name"], there.get(given["experiment_name"])
        if existing is not None:
            _require_same(definition, given, existing)
        elif "train_features" not in given:
            _declare(model, definition, given)
        plain = {key: value for key, value in given.items() if key not in (*_DATA, *_DECLARED)}
        model.get_or_create_experiment(**plain, **_data(model, definition, given))
        there.setdefault(name, given)


def _require_same(definition: Definition, given: dict[str, Any], existing: dict[str, Any]) -> None:
    for key in ("model_flavor", "input_signature", "output_signature"):
        if key in given and given[key] != existing[key]:
            raise ExperimentError(
                f"{definition.path} defines an experiment that exists as another.",
                f"{key} of {given['experiment_name']} is {existing[key]!r} on the platform, "
                f"{given[key]!r} in the file.",
                "Give the experiment of the file another experiment_name.",
            )


def _declare(model: "Model", definition: Definition, given: dict[str, Any]) -> None:
    """Create an experiment from its signatures, where there are no training data to infer them from."""
    from a360mdk import flavors, notebooks

    name = given["experiment_name"]
    if "input_signature" not in given or given.get("enable_drift_monitoring"):
        raise ExperimentError(
            f"The experiment {name} of {definition.path} was not created: it needs train_features.",
            "Signature and drift baseline are inferred from them.",
            "Add train_features: a data set of the default data repo. Without drift monitoring "
            "input_signature and output_signature do as well.",
        )
    flavors.get(given.get("model_flavor"))
    for key in NOTEBOOKS:
        notebooks.require(key, given.get(key))
    model.interface.client.post(
        f"/models/{model.id}/experiments", ExperimentError, {"output_signature": "unknown", **given}
    )


def _data(model: "Model", definition: Definition, given: dict[str, Any]) -> dict[str, Any]:
    """Training features and target, loaded from the data sets a definition names."""
    if "train_features" not in given:
        return {}
    repo = model.interface.datarepo
    features, target = repo.load_dataset(given["train_features"]), None
    column = given.get("target_column")
    if column is not None:
        if column not in features.columns:
            raise ExperimentError(
                f"{definition.path} names a target_column that is not in {given['train_features']}.",
                f"Its columns are {', '.join(map(str, features.columns))}.",
                "Name one of these.",
            )
        target = features[column]
        features = features.drop(columns=column)
    elif "train_target" in given:
        target = repo.load_dataset(given["train_target"])
        target = target.iloc[:, 0] if target.shape[1] == 1 else target
    return {"train_features": features, "train_target": target}


class _Reader:
    """Checks the nodes of one file, which know their lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def refused(self, error: type[Any], line: int, why: str, hint: str) -> Any:
        """Make the error of a line."""
        return error(f"{self._path} is not a model definition.", f"Line {line}: {why}.", hint)

    def experiments(self, node: Any) -> list[dict[str, Any]]:
        """Read the list of experiments; ``node`` is None where the file has none."""
        if node is None or node.tag.endswith(":null"):
            return []
        if node.id != "sequence":
            raise self.refused(
                ExperimentError, _line(node), "experiments is not a list", "Begin each with a dash."
            )
        read, names = [], set[str]()
        for entry in node.value:
            found = self.mapping(entry, _EXPERIMENT, ExperimentError)
            name = found.get("experiment_name")
            if not name or name in names:
                why = f"the experiment_name {name!r} comes twice" if name else "experiment_name is missing"
                raise self.refused(ExperimentError, _line(entry), why, "Give each experiment its own name.")
            if "target_column" in found and "train_target" in found:
                raise self.refused(
                    ExperimentError, _line(entry), "two targets", "Keep target_column or train_target."
                )
            names.add(name)
            read.append(found)
        return read

    def mapping(self, node: Any, known: dict[str, str], error: type[Any]) -> dict[str, Any]:
        """Read keys with values; those without a value count as left out."""
        if node.id != "mapping":
            raise self.refused(
                error, _line(node), "here keys with values are expected", "Write them as key: value."
            )
        found: dict[str, Any] = {}
        seen = set[str]()
        for key_node, value in node.value:
            key = str(key_node.value) if key_node.id == "scalar" else "a list or mapping"
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"Did you mean {close[0]}?" if close else f"Keys there: {', '.join(known)}."
                raise self.refused(error, _line(key_node), f"the key {key!r} is unknown", hint)
            if key in seen:
                raise self.refused(error, _line(key_node), f"the key {key!r} comes twice", "Remove one.")
            seen.add(key)
            if not value.tag.endswith(":null"):
                found[key] = self._value(key, value, known[key], error) if known[key] else value
        return found

    def _value(self, key: str, node: Any, kind: str, error: type[Any]) -> Any:
        tag = node.tag.rpartition(":")[2]
        if kind == _TEXT and node.id == "scalar":
            return node.value  # as it is written: 1.10 is a version, not a number
        if kind == _BOOL and tag == "bool":
            return node.value.lower() in ("true", "yes", "on")
        if kind in (_TEXTS, _NUMBERS) and node.id == "sequence":
            entries = [entry.value for entry in node.value if entry.id == "scalar"]
            numbers = all(entry.tag.endswith(":int") for entry in node.value)
            if len(entries) == len(node.value) and (kind == _TEXTS or numbers):
                return entries if kind == _TEXTS else [int(entry) for entry in entries]
        raise self.refused(error, _line(node), f"{key} is not {kind}", f"Write {kind} there.")


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
