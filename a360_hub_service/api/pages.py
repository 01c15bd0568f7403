"""Two plain pages: what the caller works on, and one model. The web console takes their place later."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ..entities import (
    Artifact,
    Collaborator,
    Endpoint,
    Experiment,
    Job,
    Model,
    ModelEvent,
    Package,
    Project,
    Run,
    Workspace,
)
from ..errors import A360Error
from ..hub.client import Server
from ..hub.workspaces import condition
from ..policy import Action, Verdict, judge
from ..services.context import Actor
from .handlers import BaseHandler
from .problems import problem_of
from .routing import Route

MOST = 200
MOST_CAPTURED = 20
EXECUTED = "executed_notebook"
"""What captures call the notebook they executed."""


class Page(BaseHandler):
    """A page for a signed-in browser: others are sent to the Hub first."""

    action = Action.SELF_VIEW
    template = ""

    @property
    def route(self) -> Route:
        """Pages are read only, and authorised like the API."""
        return Route("GET", "", self.load, self.action)

    async def admit(self) -> None:
        """Send browsers without a session to sign in."""
        if self.web.ready and await self.web.identity.identify(self, fresh=False) is None:
            self.answer_with(self._sign_in)
            return
        await super().admit()

    async def _sign_in(self, **_: str) -> None:
        self.redirect(self.get_login_url())

    async def get(self, **_: str) -> None:
        """Show the page."""
        # In a thread: a page of a thousand rows takes longer than the event loop may be held up.
        page = await self.web.run(self._page, await self.ask())
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page)

    def get_template_namespace(self) -> dict[str, Any]:
        """What every page names: who looks, and where service and Hub are."""
        base = self.web.context.settings.public_url
        root = base.rpartition("/services/")[0]
        if not hasattr(self, "_current_user"):
            # Tornado gives templates the user, for whom it would ask the Hub here, blocking.
            self.current_user = None
        return {**super().get_template_namespace(), "actor": self.actor, "base": base, "root": root}

    def _page(self, asked: Any) -> bytes:
        assert self.actor
        with self.web.context.database.session(write=False) as session:
            values = self.load(session, self.actor, asked)
        return self.render_string(self.template, **values)

    async def ask(self) -> Any:
        """What the page needs from elsewhere, asked before the database is."""
        return None

    def load(self, session: Session, actor: Actor, asked: Any) -> dict[str, Any]:
        """Collect what the template shows."""
        raise NotImplementedError

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show problems as a page of words."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = problem_of(error) if error else None
        if problem is None:
            super().write_error(status_code, **kwargs)
            return
        self.set_status(problem.status)
        self.render("problem.html", title=problem.title, detail=problem.detail, hint=problem.hint)


class StartPage(Page):
    """Projects with their models and states, and the caller's workspaces."""

    template = "start.html"

    async def ask(self) -> Mapping[str, Server] | None:
        """The caller's servers; None when the Hub does not tell."""
        assert self.actor
        try:
            return await self.web.context.hub.servers(self.actor.name)
        except A360Error:
            return None

    def load(self, session: Session, actor: Actor, asked: Mapping[str, Server] | None) -> dict[str, Any]:
        """Everything of the caller's projects, newest first."""
        may_see = judge(Action.PROJECTS_LIST, actor.roles, None) is Verdict.ALLOWED
        mine = select(Collaborator.project_id).where(Collaborator.user_name == actor.name)
        projects = (
            session.scalars(
                select(Project).where(Project.id.in_(mine)).order_by(Project.id.desc()).limit(MOST)
            ).all()
            if may_see
            else []
        )
        ids = [project.id for project in projects]
        models = session.execute(
            select(Model, Endpoint.url)
            .outerjoin(Endpoint, (Endpoint.model_id == Model.id) & (Endpoint.desired == "running"))
            .where(Model.project_id.in_(ids))
            .order_by(Model.id.desc())
            .limit(MOST * 5)
        ).all()
        workspaces = session.scalars(
            select(Workspace).where(Workspace.owner == actor.name).order_by(Workspace.id.desc()).limit(MOST)
        ).all()
        of_project: dict[str, list[Any]] = {project.id: [] for project in projects}
        for model, url in models:
            of_project[model.project_id].append((model, url))
        return {
            "projects": projects,
            "models": of_project,
            "workspaces": [(row, _status(row, asked)) for row in workspaces],
            "may_see": may_see,
        }


class ModelPage(Page):
    """One model: its final run, its history, its jobs and its endpoint."""

    action = Action.MODEL_VIEW
    template = "model.html"

    def load(self, session: Session, actor: Actor, asked: None) -> dict[str, Any]:
        """The model and what happened to it."""
        model = session.get_one(Model, self.ids["model_id"])
        run = session.get(Run, model.best_run_id) if model.best_run_id else None
        of_model = Experiment.model_id == model.id
        return {
            "model": model,
            "readable_size": readable_size,
            "readable_number": readable_number,
            "project": model.project,
            "run": run,
            "artifacts": list(run.artifacts) if run else [],
            "captured": _captured(session, model.id),
            "experiments": session.scalars(select(Experiment).where(of_model).order_by(Experiment.id)).all(),
            "history": _newest(session, ModelEvent, model.id),
            "jobs": _newest(session, Job, model.id),
            "packages": _newest(session, Package, model.id),
            "endpoint": session.scalar(select(Endpoint).where(Endpoint.model_id == model.id)),
        }


def _status(workspace: Workspace, servers: Mapping[str, Server] | None) -> str:
    if servers is None:
        return "unknown"
    return condition(servers.get(workspace.server_name), workspace.message, workspace.limits).status.value


def _captured(session: Session, model_id: str) -> list[Artifact]:
    """The executed notebooks of a model's latest captures, failed ones too, newest first."""
    query = (
        select(Artifact)
        .join(Run, Artifact.run_id == Run.id)
        .join(Experiment, Run.experiment_id == Experiment.id)
        .where(Experiment.model_id == model_id, Artifact.name == EXECUTED)
        .options(joinedload(Artifact.run).joinedload(Run.experiment))
        .order_by(Artifact.id.desc())
        .limit(MOST_CAPTURED)
    )
    return list(session.scalars(query))


def readable_size(size: int) -> str:
    """A number of bytes as people say it: ``158.8 kB``."""
    number = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def readable_number(value: object) -> str:
    """A metric with the digits that mean something; what is no float stays as it is."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _newest(session: Session, kind: type[Any], model_id: str) -> list[Any]:
    query = select(kind).where(kind.model_id == model_id).order_by(kind.id.desc()).limit(MOST)
    return list(session.scalars(query))
