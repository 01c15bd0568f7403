"""Publishing: a package becomes an endpoint, and stops being one (rows F309 to F324)."""

import logging
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.targets.base import Target
from ..entities import Credential, Endpoint, Job, Model, Package
from ..errors import Conflict, FieldError, Invalid, Unavailable
from ..jobs.work import Failure, JobKind, Step, Work
from ..lifecycle import Command, State, next_state
from . import brokers, deployment_targets, jobs, keys, scanning
from .builders import builder_of
from .context import Actor, Context
from .endpoints import (
    RUNNING,
    STOPPED,
    built_package,
    endpoint_of,
    load_for_target,
    target_of,
)
from .keys import KeySpec
from .models import transition
from .packaging import endpoint_slug

log = logging.getLogger("a360.endpoints")

FIRST_KEY = KeySpec("default", overlap=timedelta(0))
"""The key that comes with publishing."""


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """The form of F313 to F321. CPUs are cores, memory is in GB.

    Attributes
    ----------
    target
        Name of a target of the operator, or of a deployment target; empty for the default.
    max_replicas
        Up to how many replicas there may be when there are many calls; 0 for no more than ``replicas``.
    credential
        Of the broker, by name or identifier, for targets that need one.
    """

    cpu_request: float
    cpu_limit: float
    memory_request: float
    memory_limit: float
    replicas: int = 1
    max_replicas: int = 0
    target: str = ""
    credential: str = ""
    environment: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Published:
    """An order to publish: its job, its endpoint, and the key that is shown this once, if it has keys."""

    job: Job
    endpoint: Endpoint
    api_key: str | None = field(repr=False)


def request(session: Session, context: Context, actor: Actor, model: Model, spec: PublishSpec) -> Published:
    """Begin to publish a model's package, with a new key (F314, F322).

    Raises
    ------
    WrongState
        If the model has no package that was not published yet.
    Conflict
        While another job works on the model, or if a waiver that let its package through is over.
    Invalid
        For a target that is not offered, or does not run this kind of package.
    """
    _check_sizes(spec)
    jobs.refuse_second(session, model)
    transition(session, model, Command.PUBLISH, actor.name)
    package = newest_package(session, model)
    scanning.require_accepted(session, context.settings, package)
    target, place = _target_and_place(session, context, actor, package, spec)
    credential_id = _broker(session, actor, target, spec)
    endpoint = endpoint_of(session, model)
    if endpoint is None:
        endpoint = Endpoint(model_id=model.id, slug=package.form["slug"], created_by=actor.name)
        if session.scalar(select(Endpoint.id).where(Endpoint.slug == endpoint.slug)):
            # Somebody was published under this name since it was packaged.
            endpoint.slug = endpoint_slug(session, model)
    endpoint.package, endpoint.target, endpoint.desired = package, target.name, RUNNING
    endpoint.deployment_target = place
    endpoint.form = {
        k: v for k, v in asdict(spec).items() if k not in ("environment", "target", "credential")
    }
    endpoint.form |= {"credential": credential_id} if credential_id else {}
    endpoint.environment = context.secrets.encrypt(spec.environment) if spec.environment else ""
    endpoint.url, endpoint.created_by = None, actor.name
    session.add(endpoint)
    session.flush()
    keys.forget(session, endpoint)
    api_key = None if target.needs_broker else keys.new(session, endpoint, actor.name, FIRST_KEY).value
    job = jobs.begin(session, context, actor, model, kind=jobs.PUBLISH, subject_id=endpoint.id)
    return Published(job, endpoint, api_key)


def withdraw(session: Session, context: Context, actor: Actor, model: Model) -> Job:
    """Begin to take a published model's endpoint away; the model can be published again after it.

    Raises
    ------
    WrongState
        If the model is not published.
    Conflict
        While another job works on the model.
    """
    jobs.refuse_second(session, model)
    next_state(State(model.status), Command.WITHDRAW)
    endpoint = endpoint_of(session, model)
    if endpoint is None:
        raise Conflict("The model has no endpoint.", hint="Ask the operator to look at the service's log.")
    return jobs.begin(session, context, actor, model, kind=jobs.WITHDRAW, subject_id=endpoint.id)


def newest_package(session: Session, model: Model) -> Package:
    """The package that would be published: the newest one that was finished, of the present final run.

    Raises
    ------
    Conflict
        If there is none.
    """
    query = select(Package).where(Package.model_id == model.id, Package.status == "ready")
    package = session.scalar(query.order_by(Package.id.desc()).limit(1))
    if package is None or package.run_id != model.best_run_id:
        raise Conflict("The model's final run was not packaged.", hint="Package the model first.")
    return package


def _target_and_place(
    session: Session, context: Context, actor: Actor, package: Package, spec: PublishSpec
) -> tuple[Target, Credential | None]:
    """The target of the form, and the deployment target it names, if it names one."""
    named = bool(spec.target) and spec.target not in context.targets
    place = deployment_targets.find(session, actor, spec.target) if named else None
    name = deployment_targets.RUNS_ON[place.service] if place else spec.target
    target = choose_target(context, name, package.builder, package.form.get("wrapper", "flask"))
    if spec.max_replicas and not target.scales:
        raise Invalid.field(
            "max_replicas", f"“{target.name}” adds no replicas by itself", hint="Leave it out."
        )
    return target, place


def _broker(session: Session, actor: Actor, target: Target, spec: PublishSpec) -> str | None:
    """The identifier of the broker's credential; none for targets that need no broker."""
    if not target.needs_broker:
        if spec.credential:
            message = f"has no meaning for the target “{target.name}”; leave it out"
            raise Invalid.field("credential", message)
        return None
    if spec.replicas != 1:
        raise Invalid.field(
            "replicas",
            f"must be 1 for the target “{target.name}”",
            hint="Several replicas would each answer every request.",
        )
    return brokers.choose(session, actor, spec.credential).id


def choose_target(context: Context, name: str, builder: str, wrapper: str) -> Target:
    """The target of this name; for an empty one the default if it runs such packages, else one that does.

    Raises
    ------
    Invalid
        If there is none, naming those there are.
    """
    fitting = {
        each.name: each
        for each in context.targets.values()
        if builder in each.builders and wrapper in each.wrappers
    }
    offered = ", ".join(sorted(fitting)) or "none"
    target = context.targets.get(name) if name else None
    if name and target is None:
        raise Invalid.field("target", f"there is no “{name}”", hint=f"Offered for this package: {offered}.")
    target = target or fitting.get(context.settings.default_target) or next(iter(fitting.values()), None)
    if target is not None and wrapper not in target.wrappers:
        raise Invalid.field(
            "target",
            f"does not run packages with the wrapper “{wrapper}”",
            hint=f"Offered for this package: {offered}; or package again with another wrapper.",
        )
    if target is None or target.name not in fitting:
        raise Invalid.field(
            "target",
            f"does not run packages of the kind “{builder}”",
            hint=f"Offered for this package: {offered}; or package again with another builder.",
        )
    return target


def _check_sizes(spec: PublishSpec) -> None:
    wrong = [
        FieldError(f"{what}_request", f"must not be more than {what}_limit")
        for what, request, limit in (
            ("cpu", spec.cpu_request, spec.cpu_limit),
            ("memory", spec.memory_request, spec.memory_limit),
        )
        if request > limit
    ]
    if spec.max_replicas and spec.max_replicas < spec.replicas:
        wrong.append(FieldError("max_replicas", "must not be less than replicas"))
    if wrong:
        raise Invalid("; ".join(f"{each.field} {each.message}" for each in wrong), errors=wrong)


def _prepare(work: Work) -> None:
    """See that the target works and the package is still there, before anything is changed."""
    with work.context.database.session(write=False) as session:
        endpoint = session.get_one(Endpoint, work.subject_id)
        target, package = target_of(work.context, endpoint), endpoint.package
        built, slug = built_package(package), str(package.form["slug"])
        place = endpoint.deployment_target_id
    health = target.health()
    if place:
        with work.context.database.session() as session:
            message = health.reason or "The connection works."
            deployment_targets.note_use(session, place, message, ok=health.available)
    if not health.available:
        raise Unavailable(
            f"Nothing can be published on “{target.name}” now. {health.reason}",
            hint="Choose another target, or ask the operator.",
        )
    offered = built.builder in work.context.builders
    if offered and builder_of(work.context, package).find(package.id, slug) is None:
        raise Conflict("The package is not there any more.", hint="Package the model again.")


def _apply(work: Work) -> None:
    """Start the replicas and open the gateway; what runs already is left as it is."""
    with work.context.database.session(write=False) as session:
        target = target_of(work.context, session.get_one(Endpoint, work.subject_id))
        spec, records = load_for_target(work.context, session, work.subject_id)
    target.write_keys(spec.slug, records)
    status = target.apply(spec, work.log)
    with work.context.database.session() as session:
        session.get_one(Endpoint, work.subject_id).url = status.url


def _published(session: Session, work: Work) -> None:
    transition(session, session.get_one(Model, work.model_id), Command.PUBLISH_SUCCEEDED, work.actor)


def _not_published(session: Session, work: Work, failure: Failure) -> None:
    endpoint = session.get_one(Endpoint, work.subject_id)
    endpoint.desired, endpoint.url = STOPPED, None
    keys.forget(session, endpoint)
    model = session.get_one(Model, work.model_id)
    transition(session, model, Command.PUBLISH_FAILED, work.actor, failure.error)


def _remove(work: Work) -> None:
    """Take everything of the endpoint away, and see that it is gone."""
    with work.context.database.session(write=False) as session:
        endpoint = session.get_one(Endpoint, work.subject_id)
        target, slug = target_of(work.context, endpoint), endpoint.slug
    target.remove(slug, work.log)
    status = target.status(slug)
    if status.status != "absent":
        raise Unavailable(
            f"The endpoint is still {status.status}.", hint="Try again; if it stays, ask the operator."
        )


def _withdrawn(session: Session, work: Work) -> None:
    endpoint = session.get_one(Endpoint, work.subject_id)
    endpoint.desired, endpoint.url = STOPPED, None
    keys.forget(session, endpoint)
    transition(session, session.get_one(Model, work.model_id), Command.WITHDRAW, work.actor)


def _not_withdrawn(session: Session, work: Work, failure: Failure) -> None:
    """The model stays published; it can be withdrawn again, or comes back with the next start."""


def _nothing(work: Work) -> None:
    """A withdrawal that failed half-way is not undone: it was asked for, and can be asked for again."""


PUBLISH = JobKind(
    name=jobs.PUBLISH,
    steps=(
        Step("prepare", "Checking the target and the package", _prepare),
        Step("apply", "Starting the endpoint", _apply),
    ),
    succeed=_published,
    fail=_not_published,
    undo=_remove,
)

WITHDRAW = JobKind(
    name=jobs.WITHDRAW,
    steps=(Step("remove", "Stopping the endpoint", _remove),),
    succeed=_withdrawn,
    fail=_not_withdrawn,
    undo=_nothing,
)
