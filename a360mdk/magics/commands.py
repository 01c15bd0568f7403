"""What the commands of ``%a360`` do."""

import json
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from a360mdk import jobs, open_runs
from a360mdk.capture import Capture
from a360mdk.exceptions import A360AIError, DataRepoError, ExperimentError, ModelError
from a360mdk.magics import subjects
from a360mdk.main import A360AI
from a360mdk.model import Model


def status(a360ai: A360AI, names: dict[str, Any], given: Namespace) -> None:
    """Print project, data repo, model, experiment, open runs and endpoint."""
    named = bool(given.model or given.version)
    model = subjects.model_of(a360ai, given.model, given.version) if named or a360ai.model else None
    lines = {
        "Project": a360ai.project_name,
        "Data repo": _repo(a360ai),
        "Model": f"{model.model_name} {model.version}: {model.sub_status}" if model else "none loaded yet",
    }
    if model is not None:
        lines["Final run"] = model.best_run_id or "none yet"
    if a360ai.experiment is not None and (model is None or a360ai.experiment.model_id == model.id):
        lines["Experiment"] = str(a360ai.experiment.experiment_name)
    lines["Open runs"] = ", ".join(open_runs.living()) or "none"
    if model is not None:
        lines["Endpoint"] = _endpoint(a360ai, model)
    width = max(map(len, lines)) + 1
    print("\n".join(f"{name + ':':{width}} {value}" for name, value in lines.items()))


def datasets(a360ai: A360AI, names: dict[str, Any], given: Namespace) -> Any:
    """Return the data sets of a folder of the default data repo."""
    repo = a360ai.datarepo
    if not given.recursive:
        return repo.list_datasets(given.subpath)
    frame = repo.filesystem.list_bucket(given.subpath, recursive=True)
    frame = frame[frame["type"] == "file"]
    keys = frame["path"].str.removeprefix(f"{repo.filesystem.bucket}/")
    return frame.assign(key=keys)[["key", "size"]].reset_index(drop=True)


def runs(a360ai: A360AI, names: dict[str, Any], given: Namespace) -> Any:
    """Return an experiment's runs, sorted and cut as asked."""
    experiment = subjects.experiment_of(a360ai, names, given.experiment)
    frame = experiment.list_runs(include_failed=given.failed)
    if given.sort is not None:
        column = given.sort if given.sort in frame else f"metric_{given.sort}"
        if column not in frame:
            raise ExperimentError(
                f"The runs have no column {given.sort!r}.",
                f"Columns: {', '.join(frame.columns)}.",
                "Name one of these.",
            )
        frame = frame.sort_values(column, ascending=given.ascending, kind="stable")
    return frame if given.top is None else frame.head(given.top)


def capture(a360ai: A360AI, names: dict[str, Any], given: Namespace) -> Capture:
    """Start a capture and return it; with --wait, when it has ended, or raise the reason."""
    experiment = subjects.experiment_of(a360ai, names, given.experiment)
    parameters = {name: _json_or_text(value) for name, value in given.parameter.items()}
    begun = a360ai.capture(given.notebook, parameters, given.time_limit, experiment)
    if not given.wait:
        return begun
    begun.wait()
    print(f"Run {begun.run_id} of {experiment.experiment_name}: {begun.state}.")
    return begun


def package(a360ai: A360AI, names: dict[str, Any], given: Namespace) -> None:
    """Start packaging; with --wait, end with the result or raise the reason."""
    model = subjects.model_of(a360ai, given.model, given.version)
    form = {
        "repository": given.git,
        "script_name": given.script,
        "branch": given.branch,
        "call_function": given.function,
        "input_format": given.input_format,
        "validation_input": subjects.text_of(names, given.validation_input),
        "validation_output": subjects.text_of(names, given.validation_output),
        "dependencies": given.dependencies,
        "base_image": given.base_image,
        "builder": given.builder,
        "wrapper": given.wrapper,
        "listen_topic": given.listen_topic,
        "respond_topic": given.respond_topic,
    }
    body = {name: value for name, value in form.items() if value is not None}
    job = a360ai.client.post(f"/models/{model.id}/package", ModelError, body)
    print(f"Packaging {model.model_name} {model.version}: job {job['id']}.")
    if not given.wait:
        print("%a360 status shows its state; with --wait its log is shown here.")
        return
    _finished(a360ai, job)
    made = a360ai.client.get(f"/packages/{job['subject_id']}", ModelError)
    commit = f", commit {made['commit'][:12]}" if made.get("commit") else ""
    print(
        f"The package is ready ({made['builder']}, {_size(made['size'])}{commit}). %a360 publish comes next."
    )


def publish(a360ai: A360AI, names: dict[str, Any], given: Namespace) -> None:
    """Publish; the API key goes into a variable. With --wait, end with the address or raise the reason."""
    if not given.key_into.isidentifier():
        raise ModelError(
            "Nothing was published.",
            f"{given.key_into!r} cannot be the name of a variable.",
            "Pass --key-into api_key, for example.",
        )
    model = subjects.model_of(a360ai, given.model, given.version)
    body = {
        "replicas": given.replicas,
        "cpu_request": given.cpu_request,
        "cpu_limit": given.cpu_limit,
        "memory_request": given.memory_request,
        "memory_limit": given.memory_limit,
        "environment": given.env,
        **({"target": given.target} if given.target else {}),
        **({"credential": given.credential} if given.credential else {}),
    }
    answer = a360ai.client.post(f"/models/{model.id}/publish", ModelError, body)
    names[given.key_into] = answer["api_key"]  # first of all: it is never given out again
    print(f"Publishing {model.model_name} {model.version}: job {answer['job']['id']}.")
    if answer["api_key"] is None:
        print("There is no API key: the users of the broker are who may ask.")
    else:
        _tell_key(answer["api_key"], given)
    if given.wait:
        _finished(a360ai, answer["job"])
        endpoint = a360ai.client.get(f"/endpoints/{answer['endpoint']['id']}", ModelError)
        print(f"{endpoint['url']} answers, {endpoint['ready_replicas']} of {endpoint['replicas']} replicas.")


COMMANDS: dict[str, Callable[[A360AI, dict[str, Any], Namespace], Any]] = {
    "status": status,
    "datasets": datasets,
    "runs": runs,
    "capture": capture,
    "package": package,
    "publish": publish,
}


def _tell_key(key: str, given: Namespace) -> None:
    print(f"The API key is in the variable {given.key_into}, and nowhere else; keep it with your passwords.")
    if given.show_key:
        print(f"API key: {key}\nIt is saved with this notebook: clear this output.")


def _finished(a360ai: A360AI, job: dict[str, Any]) -> None:
    """Show the job's log until it has ended.

    Raises:
        ModelError: it failed; with its reason.
    """
    ended = jobs.wait(a360ai.client, job["id"])
    if ended["status"] != "succeeded":
        raise ModelError(
            f"The model was not {'packaged' if job['kind'] == 'package' else 'published'}.",
            str(ended["error"] or "The job failed without a reason."),
            str(ended["hint"] or "Put right what it names, and run the cell again."),
        )


def _repo(a360ai: A360AI) -> str:
    try:
        repo = a360ai.datarepo
    except DataRepoError as error:
        if error.status == 403:  # ML engineers see models, not data
            return "not shown to your roles"
        if error.status:
            raise
        return "none"
    return f"{repo.name} ({repo.storage_provider}, {repo.volume_name})"


def _endpoint(a360ai: A360AI, model: Model) -> str:
    try:
        found = a360ai.client.get(f"/models/{model.id}/endpoint", A360AIError)
    except A360AIError as error:
        if error.status != 404:
            raise
        return "none"
    return f"{found['url'] or found['slug']}: {found['status']}"


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _size(size: int | None) -> str:
    return f"{(size or 0) / 1e6:.1f} MB"
