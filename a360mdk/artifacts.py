"""Artifacts of runs: their names, and fetching them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a360mdk.datarepo import DataRepo
from a360mdk.exceptions import ArtifactError
from a360mdk.transfer import copy
from a360mdk.writing import replacing

TRAINED_MODEL = "trained_model"
NATIVE_MODEL = "trained_model_native"
PREPROCESSOR = "preprocessor"
BASELINE = "baseline"
EXECUTED = "executed_notebook"
PARAMETERS = "parameters"
ENVIRONMENT = "environment"
NOTEBOOKS = {
    "data_exploration_file": "data_exploration_notebook",
    "data_preparation_file": "data_preparation_notebook",
    "model_training_file": "model_training_notebook",
}
KINDS = {
    TRAINED_MODEL: "model",
    NATIVE_MODEL: "native_model",
    PREPROCESSOR: "preprocessor",
    BASELINE: "baseline",
    **dict.fromkeys([*NOTEBOOKS.values(), EXECUTED], "notebook"),
    PARAMETERS: "parameters",
    ENVIRONMENT: "environment",
}


@dataclass(frozen=True)
class Artifact:
    """A file a run left in the data repo: its name, kind, key, size in bytes and SHA-256.

    Args:
        name, kind: what it is, as in ``KINDS``.
        file_key: its key in the data repo.
        size: in bytes.
        sha256: of its content, in hexadecimal.
        id: as on the platform; None before it is registered.
    """

    name: str
    kind: str
    file_key: str
    size: int
    sha256: str
    id: str | None = None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Artifact":
        """Make it from the service's document.

        Args:
            document: a member of a run's ``artifacts``.
        """
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})

    def document(self) -> dict[str, Any]:
        """What the service is told of it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "file_key": self.file_key,
            "size": self.size,
            "sha256": self.sha256,
        }


def fetch(repo: DataRepo, artifact: Artifact, folder: Path) -> Path:
    """Download an artifact into a folder under its name, and check that it is what the run stored.

    Raises:
        ArtifactError: it is not what was stored; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / artifact.name
    with repo.filesystem.get_object(artifact.file_key) as source, replacing(target) as sink:
        stored = copy(source, sink, artifact.size, f"Download {artifact.name}")
        if stored.sha256 != artifact.sha256:
            raise ArtifactError(
                f"{artifact.name} was not loaded.",
                f"The file {artifact.file_key} is not the one the run stored: its SHA-256 is "
                f"{stored.sha256}, recorded was {artifact.sha256}.",
                "Somebody changed it in the data repo. Train again, or choose another run.",
            )
    return target
