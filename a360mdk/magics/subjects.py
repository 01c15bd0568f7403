"""Whom a magic is about: models and experiments by name, values by the name of a variable."""

import json
from collections.abc import Mapping
from typing import Any

from a360mdk import experiment as experiments
from a360mdk.exceptions import ExperimentError, ModelError
from a360mdk.experiment import Experiment
from a360mdk.main import A360AI
from a360mdk.model import Model


def model_of(a360ai: A360AI, name: str | None, version: str | None) -> Model:
    """Return the model of a name, or the current one, as it is on the platform now.

    Args:
        a360ai: the interface.
        name: the current model when None.
        version: of ``name``; the newest when None.

    Raises:
        ModelError: there is none.
    """
    if name is None and version is None:
        if a360ai.model is None:
            raise ModelError(
                "There is no current model.",
                "This kernel has not loaded one.",
                "Name one with --model, or call a360ai.get_or_create_model(...).",
            )
        a360ai.model.refresh()
        return a360ai.model
    wanted = name or (a360ai.model.model_name if a360ai.model else None)
    found = [
        document
        for document in model_documents(a360ai)
        if document["model_name"] == wanted and version in (None, document["version"])
    ]
    if not found:
        raise ModelError(
            f"The project has no model {wanted!r}" + (f" of version {version}." if version else "."),
            "Names are taken as they are written, upper and lower case included.",
            "Press Tab after --model to see what there is.",
        )
    return Model.of(max(found, key=lambda document: str(document["created_at"])), a360ai)


def experiment_of(a360ai: A360AI, namespace: Mapping[str, Any], given: str | None) -> Experiment:
    """Return the experiment that a variable holds, that has this name, or the current one.

    Args:
        a360ai: the interface.
        namespace: the notebook's variables.
        given: variable or name; the current experiment when None.

    Raises:
        ExperimentError: there is none.
    """
    if given is None:
        if a360ai.experiment is None:
            raise ExperimentError(
                "There is no current experiment.",
                "This kernel has not loaded one.",
                "Name one, or call model.get_or_create_experiment(...).",
            )
        return a360ai.experiment
    held = namespace.get(given)
    if isinstance(held, Experiment):
        return held
    current, model = a360ai.experiment, a360ai.model
    # The current one holds the training data, from which parity is checked.
    if current is not None and current.experiment_name == given and current.model is model:
        return current
    for document in experiment_documents(a360ai):
        if document["experiment_name"] == given:
            return Experiment.from_document(document, model=model, a360ai=a360ai)
    raise ExperimentError(
        f"There is no experiment {given!r}.",
        f"It is neither a variable nor an experiment of {model.model_name} {model.version}."
        if model
        else "It is no variable, and without a current model there are no names of experiments.",
        "Press Tab to see what there is; a name with spaces is written in quotes.",
    )


def model_documents(a360ai: A360AI) -> list[dict[str, Any]]:
    """Return the project's models as the service gives them."""
    return list(a360ai.client.items(f"/projects/{a360ai.settings.project_id}/models", ModelError))


def experiment_documents(a360ai: A360AI) -> list[dict[str, Any]]:
    """Return the current model's experiments as the service gives them."""
    return [] if a360ai.model is None else list(experiments.documents(a360ai.model))


def text_of(namespace: Mapping[str, Any], given: str | None) -> str | None:
    """Return text as it was given, or what the variable of this name holds: text as it is, else JSON."""
    if given is None or not given.isidentifier() or given not in namespace:
        return given
    value = namespace[given]
    if hasattr(value, "to_json"):
        return str(value.to_json())
    return value if isinstance(value, str) else json.dumps(value)
