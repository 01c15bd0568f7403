"""Model definitions as YAML files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a360mdk.exceptions import ModelError
from a360mdk.filesystem import replacing
from a360runtime.paths import resolve

if TYPE_CHECKING:
    from a360mdk.model import Model

_WRITTEN = ("model_name", "version", "model_type", "best_experiment_id", "best_run_id")


def write(model: "Model", local_path: str | os.PathLike[str]) -> Path:
    """Write a model's definition; into a folder as ``<model_name>.yaml``."""
    import yaml

    path = resolve(local_path)
    if path.is_dir():
        path = path / f"{model.model_name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as sink:
        text = yaml.safe_dump({name: getattr(model, name) for name in _WRITTEN}, sort_keys=False)
        sink.write(text.encode())
    return path


def read(local_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a definition.

    Raises:
        ModelError: it cannot be read, or lacks model_name.
    """
    import yaml

    path = resolve(local_path)
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ModelError(
            f"The model definition {path} cannot be read.", str(error), "Check path and file."
        ) from error
    if not isinstance(found, dict) or not found.get("model_name"):
        raise ModelError(
            f"{path} defines no model.",
            "The key model_name is missing.",
            "Write model_name: churn_pred, for example.",
        )
    definition = {str(key): value for key, value in found.items() if value is not None}
    if "version" in definition:
        definition["version"] = str(definition["version"])  # YAML reads 1.0 as a number
    return definition
