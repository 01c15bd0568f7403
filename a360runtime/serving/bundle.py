"""A package on disk: manifest, artifacts and the user's script, loaded and ready to predict."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a360runtime import ONNXModel

FORMAT = 1
"""The manifest format this runtime reads."""


class BundleError(Exception):
    """The package is incomplete or its script cannot be loaded."""


@dataclass(frozen=True)
class Bundle:
    """A loaded package. `call` is the user's function, `artifacts` what it gets as its first argument."""

    manifest: dict[str, Any]
    artifacts: list[Any]
    call: Callable[[list[Any], str], Any]

    @property
    def json_input(self) -> bool:
        """Must a request body be JSON?"""
        return str(self.manifest.get("input_format", "JSON")).upper() == "JSON"

    def predict(self, payload: str) -> Any:
        """Run the user's function on one request body, in the text form it came."""
        return self.call(self.artifacts, payload)


def load_bundle(folder: Path) -> Bundle:
    """Load the package in `folder`. Changes the working directory to the script's. Raises `BundleError`."""
    try:
        manifest = json.loads((folder / "a360.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"The package has no readable a360.json: {error}") from error
    if manifest.get("format") != FORMAT:
        raise BundleError(f"The package has format {manifest.get('format')}, this runtime reads {FORMAT}.")
    artifacts = _load_artifacts(folder / "artifacts")
    script = folder / str(manifest["script"])
    # Scripts open files and import modules that lie beside them.
    os.chdir(script.parent)
    sys.path.insert(0, str(script.parent))
    return Bundle(manifest, artifacts, _load_call(script, str(manifest["call_function"])))


def _load_artifacts(folder: Path) -> list[Any]:
    preprocessor = folder / "preprocessor"
    baseline = folder / "baseline.json"
    return [
        ONNXModel(str(folder / "trained_model")),
        ONNXModel(str(preprocessor)) if preprocessor.exists() else None,
        json.loads(baseline.read_text("utf-8")) if baseline.exists() else None,
    ]


def _load_call(script: Path, name: str) -> Callable[[list[Any], str], Any]:
    spec = importlib.util.spec_from_file_location("a360_script", script)
    if spec is None or spec.loader is None:
        raise BundleError(f"{script.name} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Pickling, dataclasses and typing look a module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    call = getattr(module, name, None)
    if not callable(call):
        raise BundleError(f"{script.name} has no function {name}.")
    return call  # type: ignore[no-any-return]
