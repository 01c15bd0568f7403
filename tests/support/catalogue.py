"""Projects, models, experiments and runs put straight into a database, for tests of use cases."""

from typing import Any

from sqlalchemy.orm import Session

from a360_hub_service.entities import (
    Collaborator,
    DataRepo,
    Experiment,
    GroupRole,
    Model,
    Project,
    Run,
    new_id,
)
from a360_hub_service.policy import Role
from a360_hub_service.services import experiments, models, runs
from a360_hub_service.services.context import Actor

GROUPS = {
    "Administrator": Role.CLIENT_ADMIN,
    "Data Scientists": Role.DATA_SCIENTIST,
    "ML Engineers": Role.ML_ENGINEER,
}


def person(name: str, *groups: str) -> Actor:
    """Somebody in these groups."""
    return Actor(name, groups, frozenset(GROUPS[group] for group in groups))


def add_groups(session: Session) -> None:
    """The three groups with their roles."""
    for group, role in GROUPS.items():
        session.merge(GroupRole(group_name=group, role=role.value))
    session.flush()


def add_project(session: Session, *members: str) -> Project:
    """A project with a default data repo; the first member owns it."""
    mark = new_id()[-12:]
    project = Project(
        name=f"Project {mark}",
        slug=f"project-{mark}",
        customer_name="Acme",
        owner=members[0],
        collaborators=[Collaborator(user_name=name, added_by=members[0]) for name in members],
    )
    session.add(project)
    session.flush()
    session.add(
        DataRepo(
            project_id=project.id,
            name="data",
            is_default=True,
            volume_account="local",
            storage_provider="local",
            volume_name=f"volume-{mark}",
            created_by=members[0],
        )
    )
    session.flush()
    return project


def add_model(session: Session, project: Project, actor: Actor, name: str = "churn") -> Model:
    """A model in Draft."""
    return models.get_or_create(session, actor, project, models.ModelSpec(name))[0]


def add_experiment(
    session: Session, model: Model, actor: Actor, name: str = "forest", **more: Any
) -> Experiment:
    """An experiment of one feature."""
    spec = experiments.ExperimentSpec(
        name, "sklearn", "age big_integer", "Churn big_integer", feature_names=["age"], **more
    )
    return experiments.get_or_create(session, actor, model, spec)[0]


def add_run(
    session: Session, experiment: Experiment, actor: Actor, *, status: str = "finished", saved: bool = True
) -> Run:
    """A run, closed unless ``status`` is "running", with a trained model if it is finished and ``saved``."""
    run = runs.start(session, actor, experiment, runs.Values())
    if status == "running":
        return run
    artifacts = []
    if status == "finished" and saved:
        artifacts = [artifact(run)]
    return runs.finish(session, run, runs.Outcome(status, runs.Values(), None, artifacts))


def artifact(run: Run, name: str = "trained_model", kind: str = "model", size: int = 3) -> runs.ArtifactSpec:
    """An artifact in the run's folder; no file is written."""
    return runs.ArtifactSpec(name, kind, f"{run.artifact_prefix}/{name}", size, "a" * 64)
