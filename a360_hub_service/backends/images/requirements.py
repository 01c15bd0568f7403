"""Reading the dependencies file of a script: what it asks for and what of it a served model needs."""

import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.images.base import BuildError, BuildRequest
from a360_hub_service.backends.images.script import Script, file_in_repository

# Names people write that are no distribution, or a deprecated one that only raises an error.
_RENAMED = {"sklearn": "scikit-learn"}

# The platform's own packages: the first is put in by the builder, the second is for notebooks only.
_OURS = {"a360runtime", "a360mdk", "a360"}

# Distributions that only training or notebooks need, and the names they are imported by.
_TRAINING = {
    "scikit-learn": "sklearn",
    "xgboost": "xgboost",
    "xgboost-cpu": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "tensorflow": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "keras": "keras",
    "transformers": "transformers",
    "datasets": "datasets",
    "accelerate": "accelerate",
    "imbalanced-learn": "imblearn",
    "optuna": "optuna",
    "hyperopt": "hyperopt",
    "shap": "shap",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "skl2onnx": "skl2onnx",
    "onnxmltools": "onnxmltools",
    "tf2onnx": "tf2onnx",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
    "plotly": "plotly",
    "bokeh": "bokeh",
    "altair": "altair",
    "jupyter": "jupyter",
    "jupyterlab": "jupyterlab",
    "notebook": "notebook",
    "ipykernel": "ipykernel",
    "ipywidgets": "ipywidgets",
    "ipython": "IPython",
    "papermill": "papermill",
    "pytest": "pytest",
}

# Options that say where pip looks or how it works; where we look is the operator's to say.
_IGNORED_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--trusted-host", "--pre")
_IGNORED_FLAGS = ("--prefer-binary", "--only-binary", "--no-binary", "--require-hashes", "--use-pep517")


def read_requirements(request: BuildRequest, script: Script, log: Log) -> list[str]:
    """Return the requirements of the dependencies file that the script needs when it is served.

    Warnings go to `log`. Raises `BuildError` (field ``dependencies``).
    """
    path = _find(request, script)
    found: dict[str, Requirement] = {}
    for line in _lines(path, request.repo_dir, set(), log):
        requirement = _parse(line, path.name, log)
        if requirement is not None and _is_needed(requirement, script, log):
            found[str(requirement)] = requirement
    return sorted(found)


def _find(request: BuildRequest, script: Script) -> Path:
    """Look beside the script first, then from the root of the repository."""
    beside = script.path.parent.relative_to(request.repo_dir) / request.dependencies
    names = (beside.as_posix(), request.dependencies)
    for name in names:
        if (request.repo_dir / name).is_file():
            return file_in_repository(request.repo_dir, name, "dependencies")
    return file_in_repository(request.repo_dir, names[0], "dependencies")


def _lines(path: Path, repo: Path, seen: set[Path], log: Log) -> list[str]:
    if path in seen:
        return []
    seen.add(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(f"{path.name} is not UTF-8 text.") from error
    lines: list[str] = []
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        # Hashes belong to the versions of another day's lock.
        line = re.sub(r"\s--hash=\S+", "", line)
        option, _, value = line.replace("=", " ", 1).partition(" ") if line.startswith("-") else ("", "", "")
        if not line:
            continue
        if option in ("-r", "--requirement"):
            folder = path.parent.relative_to(repo)
            included = file_in_repository(repo, (folder / value.strip()).as_posix(), "dependencies")
            lines += _lines(included, repo, seen, log)
        elif option in _IGNORED_OPTIONS or option in _IGNORED_FLAGS:
            log(f"Warning: {path.name}: the option {option} is ignored; the platform decides where it looks.")
        elif option:
            raise _bad(f"{path.name}: {line!r} is not supported.", "List packages by name.")
        else:
            lines.append(line)
    return lines


def _parse(line: str, file: str, log: Log) -> Requirement | None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        raise _bad(
            f"{file}: {line!r} is not a requirement.", "Write a package name, like numpy>=2."
        ) from error
    if requirement.url:
        raise _bad(
            f"{file}: {requirement.name} comes from an address, not from the package index.", "Name it."
        )
    name = canonicalize_name(requirement.name)
    if name in _OURS:
        log(f"{requirement.name} is part of every package of the platform; the line in {file} is not needed.")
        return None
    if name in _RENAMED:
        log(f"Warning: {file} names {requirement.name}; read as {_RENAMED[name]}.")
        requirement.name = _RENAMED[name]
        # The wrong name's versions (all 0.0) mean nothing for the right one.
        if any(spec.version.startswith("0.0") for spec in requirement.specifier):
            requirement = Requirement(_RENAMED[name])
    return requirement


def _is_needed(requirement: Requirement, script: Script, log: Log) -> bool:
    module = _TRAINING.get(canonicalize_name(requirement.name))
    if module is None or module in script.imports:
        return True
    log(f"Left out {requirement.name}: the script does not import it, and a served model runs without it.")
    return False


def _bad(message: str, hint: str = "") -> BuildError:
    return BuildError(message, hint=hint, field="dependencies")
