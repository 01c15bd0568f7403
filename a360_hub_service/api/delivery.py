"""Packages, publishing and endpoints."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from a360runtime.serving.mqtt import topics

from ..backends.base import Health
from ..entities import Credential, Endpoint, Job, Package
from ..errors import NotFound
from ..policy import Action
from ..services import brokers, builders, deployment_targets, endpoints, jobs, keys, packaging, publishing
from ..services.keys import KeySpec
from ..services.paging import slice_by
from .gates import ScanSummary, summaries
from .jobs import JobView
from .routing import AsyncCall, Call, Form, Page, View
from .scope import authorise
from .texts import ANY_TEXT, DISPLAY_NAME, REPOSITORY, Lifetime, Whole

Name = Annotated[str, StringConstraints(max_length=255, pattern=r"^[A-Z_][A-Z0-9_]*$")]
Value = Annotated[str, StringConstraints(max_length=32768, strip_whitespace=False)]
Cores = Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)]
Gigabytes = Annotated[float, Field(gt=0, le=65536, allow_inf_nan=False)]
RESERVED = "A360_"
ENVIRONMENT: dict[str, Any] = {
    "propertyNames": {"pattern": f"^(?!{RESERVED})[A-Z_][A-Z0-9_]*$", "maxLength": 255},
    "additionalProperties": {"type": "string", "pattern": ANY_TEXT, "maxLength": 32768},
}


def _environment_schema(schema: dict[str, Any]) -> None:
    """Say that there are no other names than those of the pattern."""
    schema.pop("patternProperties")
    schema.update(ENVIRONMENT)


class PackageForm(Form):
    """How to package a model's final run (F288 to F305)."""

    wrapper: Literal["flask", "asgi", "mqtt"] = Field(
        "flask",
        description="`flask` and `asgi` answer the same over HTTP, `mqtt` over a broker, as of ClearBlade.",
    )
    repository: str = Field(
        min_length=1, max_length=2000, description="Ends in `.git`.", json_schema_extra=REPOSITORY
    )
    branch: str | None = Field(
        None,
        max_length=250,
        description="A branch, a tag, or all 40 digits of a commit; the default branch if left out.",
    )
    repository_account: str | None = Field(
        None,
        max_length=128,
        description="Name of the credential for a private repository; the one of the caller's groups that is "
        "for its address if left out.",
    )
    script_name: str = Field(min_length=4, max_length=500, pattern=r"^[^\x00]*\.py$")
    call_function: str = Field("predict", max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    input_format: Literal["JSON", "Text"] = "JSON"
    output_format: Literal["JSON"] = "JSON"
    validation_input: str | None = Field(None, max_length=500_000)
    validation_output: str | None = Field(None, max_length=500_000)
    listen_topic: str | None = Field(
        None,
        max_length=topics.LONGEST,
        validate_default=True,
        description="Where requests come; it may hold wildcards. Of the wrapper `mqtt`, which needs it.",
    )
    respond_topic: str | None = Field(
        None,
        max_length=topics.LONGEST,
        validate_default=True,
        description="Where answers go that no request asks for elsewhere. Of the wrapper `mqtt`.",
    )
    base_image: str | None = Field(None, max_length=500, description="Ours if left out.")
    dependencies: str = Field("requirements.txt", min_length=1, max_length=500)
    registry_type: Literal["none", "ecr", "oci"] | None = Field(
        None,
        description="Where the image is pushed to. If left out: `ecr` where one is offered to the caller, "
        "else the platform's own registry, else `none`.",
    )
    registry_url: str | None = Field(
        None, max_length=1000, description="One of `/registries`; the only one of the type if left out."
    )
    builder: str | None = Field(None, max_length=64, description="The operator's choice if left out.")

    @field_validator("listen_topic", "respond_topic")
    @classmethod
    def _fits_the_wrapper(cls, value: str | None, info: ValidationInfo) -> str | None:
        wrapper = info.data.get("wrapper")
        if wrapper != "mqtt":
            if value and wrapper:
                raise ValueError(f"has no meaning with the wrapper {wrapper}; leave it out")
            return None
        if not value:
            raise ValueError("is needed by the wrapper mqtt")
        if info.field_name == "listen_topic":
            why = topics.why_no_filter(value)
        else:
            listen = info.data.get("listen_topic")
            why = topics.why_no_topic(value) or (topics.why_no_pair(listen, value) if listen else "")
        if why:
            raise ValueError(why)
        return value

    def spec(self) -> builders.PackageSpec:
        """What the use case takes."""
        return builders.PackageSpec(**self.model_dump(exclude_none=True))


class PublishForm(Form):
    """How to run a model's package (F310 to F321)."""

    target: str | None = Field(
        None, max_length=128, description="Or a deployment target; the operator's choice if left out."
    )
    credential: str | None = Field(
        None, max_length=128, description="The broker's, by name or identifier; of the target `clearblade`."
    )
    replicas: Whole = Field(1, ge=1, le=20)
    max_replicas: Whole | None = Field(
        None, ge=1, le=100, description="Replicas there may be when there are many calls, in clusters."
    )
    cpu_request: Cores = Field(description="Cores each replica has for itself.")
    cpu_limit: Cores = Field(description="Cores a replica may use.")
    memory_request: Gigabytes = Field(description="GB each replica has for itself.")
    memory_limit: Gigabytes = Field(description="GB a replica may use.")
    environment: dict[Name, Value] = Field(
        default_factory=dict,
        max_length=100,
        description=f"Environment variables of the replicas; names do not begin with {RESERVED}.",
        json_schema_extra=_environment_schema,
    )

    @field_validator("environment")
    @classmethod
    def _usable(cls, value: dict[str, str]) -> dict[str, str]:
        if wrong := next((name for name in value if name.startswith(RESERVED)), None):
            raise ValueError(f"{wrong}: names that begin with {RESERVED} are the platform's")
        if wrong := next((name for name in value if "\0" in value[name]), None):
            raise ValueError(f"{wrong}: the value holds a character that no environment takes")
        return value

    def spec(self) -> publishing.PublishSpec:
        """What the use case takes."""
        return publishing.PublishSpec(**self.model_dump(exclude_none=True))


class KeyForm(Form):
    """A new key; one of the same name is rotated."""

    name: str = Field(
        "default",
        min_length=1,
        max_length=64,
        description="Whose or what for.",
        json_schema_extra=DISPLAY_NAME,
    )
    overlap_seconds: Whole = Field(
        3600, ge=0, le=30 * 86400, description="How long the key of this name stays valid beside the new one."
    )
    valid_seconds: Lifetime | None = Field(
        None, description="How long the new key is valid; always if left out."
    )

    def spec(self) -> KeySpec:
        """What the use case takes."""
        valid = self.valid_seconds
        lifetime = timedelta(seconds=valid) if valid is not None else None
        return KeySpec(self.name, timedelta(seconds=self.overlap_seconds), lifetime)


class PackageView(View):
    """What packaging made."""

    id: str
    model_id: str
    run_id: str
    status: str
    builder: str
    slug: str = Field("", description="Name of the endpoint it is made for.")
    reference: str | None
    digest: str | None
    size: int | None
    commit: str | None = Field(description="What was built: 40 hex digits.")
    ref: str | None = Field(description="The branch or tag it was then, `refs/heads/main`.")
    lock_sha256: str | None
    form: dict[str, Any]
    job_id: str | None = None
    error: str | None = None
    hint: str | None = None
    scan: ScanSummary | None = Field(None, description="Nothing as long as it was not scanned.")
    created_by: str
    created_at: datetime


class KeyView(View):
    """A key of an endpoint, without the key."""

    id: str
    name: str
    prefix: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(
        description="Of the last call that was let in, a minute late at most; `null` if there was none."
    )


class EndpointView(View):
    """A published model and what runs of it now."""

    id: str
    model_id: str
    project_id: str
    model_name: str
    version: str
    package_id: str
    slug: str
    url: str | None
    target: str
    deployment_target: str | None = Field(None, description="Where, if the target is not one place.")
    status: str = Field(
        description="`running`, `degraded`, `starting`, `absent`, `withdrawn`; `unknown` if nobody answers."
    )
    message: str
    replicas: int
    ready_replicas: int
    cpu_request: float
    cpu_limit: float
    memory_request: float
    memory_limit: float
    limits: str = Field(description="Which of these the machine applies.")
    environment_names: list[str]
    keys: list[KeyView]
    call_example: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class PublishView(View):
    """A publication that has begun. The key, if there are keys, is shown this once."""

    job: JobView
    endpoint: EndpointView
    api_key: str | None = Field(description="None where the users of a broker are who may ask.")


class ApiKeyView(View):
    """A key, shown this once."""

    api_key: str
    key: KeyView


class BrokerView(View):
    """An MQTT broker that models can be published at."""

    id: str
    name: str
    description: str
    broker_url: str


class BackendView(View):
    """A builder or a target, and whether it works on this machine now."""

    name: str
    description: str
    available: bool
    reason: str


def package_views(session: Session, model_id: str, packages: Sequence[Package]) -> list[PackageView]:
    """Packages of a model, each with the job that makes it."""
    made_by = jobs.newest_of(session, model_id, [package.id for package in packages])
    scans = summaries(session, [package.id for package in packages])
    views = [PackageView.model_validate(package) for package in packages]
    for view in views:
        view.scan = scans.get(view.id)
        view.slug = view.form.pop("slug", "")
        for inner in ("registry", "repository_credential"):
            view.form.pop(inner, None)
        if job := made_by.get(view.id):
            view.job_id, view.error, view.hint = job.id, job.error, job.hint
    return views


def endpoint_view(call: Call | AsyncCall, endpoint: Endpoint, live: endpoints.Live) -> EndpointView:
    """An endpoint with what runs of it; loaded in a session, since it reads keys and model."""
    model, form = endpoint.model, endpoint.form
    environment = call.context.secrets.decrypt(endpoint.environment) if endpoint.environment else {}
    columns = (
        "id",
        "model_id",
        "package_id",
        "slug",
        "url",
        "target",
        "created_by",
        "created_at",
        "updated_at",
    )
    return EndpointView(
        **{name: getattr(endpoint, name) for name in columns},
        deployment_target=endpoint.deployment_target.name if endpoint.deployment_target else None,
        project_id=model.project_id,
        model_name=model.model_name,
        version=model.version,
        status=live.status,
        message=live.message,
        replicas=form["replicas"],
        ready_replicas=live.ready_replicas,
        cpu_request=form["cpu_request"],
        cpu_limit=form["cpu_limit"],
        memory_request=form["memory_request"],
        memory_limit=form["memory_limit"],
        limits=live.limits,
        environment_names=sorted(environment),
        keys=[KeyView.model_validate(key) for key in endpoint.keys],
        call_example=endpoints.call_example(endpoint) if endpoint.url else None,
    )


async def package_model(call: AsyncCall) -> JobView:
    """Package a model's final run"""
    spec = call.body.spec()

    def chosen(session: Session) -> tuple[str, bool]:
        authorise(session, call.actor, Action.MODEL_PACKAGE, call.ids)
        return builders.chosen_registry(session, call.context, call.actor, spec)

    place, pushes = await call.db(chosen, write=False)
    builder = await call.run(builders.usable_builder, call.context, spec.builder, place, pushes)
    usable = replace(spec, builder=builder)

    def work(session: Session) -> JobView:
        model = authorise(session, call.actor, Action.MODEL_PACKAGE, call.ids)
        return JobView.model_validate(packaging.request(session, call.context, call.actor, model, usable))

    return await call.db(work)


def list_packages(call: Call) -> Page[PackageView]:
    """List a model's packages, newest first"""
    rows, cursor = packaging.list_packages(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=package_views(call.session, call.entity.id, rows), next_cursor=cursor)


def get_package(call: Call) -> PackageView:
    """Show a package"""
    return package_views(call.session, call.entity.model_id, [call.entity])[0]


def publish_model(call: Call) -> PublishView:
    """Publish a model's package; the answer holds the API key, this once"""
    done = publishing.request(call.session, call.context, call.actor, call.entity, call.body.spec())
    return PublishView(
        job=JobView.model_validate(done.job),
        endpoint=endpoint_view(
            call, done.endpoint, endpoints.Live("starting", done.endpoint.form["replicas"])
        ),
        api_key=done.api_key,
    )


def withdraw_model(call: Call) -> JobView:
    """Take a published model's endpoint away"""
    job: Job = publishing.withdraw(call.session, call.context, call.actor, call.entity)
    return JobView.model_validate(job)


def list_endpoints(call: Call) -> Page[EndpointView]:
    """List the endpoints of the caller's projects"""
    rows, cursor = endpoints.list_endpoints(
        call.session, call.actor, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[_now(call, row) for row in rows], next_cursor=cursor)


def get_model_endpoint(call: Call) -> EndpointView:
    """Show a model's endpoint"""
    endpoint = call.session.scalar(select(Endpoint).where(Endpoint.model_id == call.entity.id))
    if endpoint is None:
        raise NotFound("The model was not published yet.", hint="Package and publish it first.")
    return _now(call, endpoint)


def get_endpoint(call: Call) -> EndpointView:
    """Show an endpoint"""
    return _now(call, call.entity)


def _now(call: Call, endpoint: Endpoint) -> EndpointView:
    return endpoint_view(call, endpoint, endpoints.live_status(call.context, endpoint))


def add_endpoint_key(call: Call) -> ApiKeyView:
    """Make a key, or rotate the one of this name: it opens the endpoint for a while longer"""
    made = keys.add(call.session, call.context, call.actor, call.entity, call.body.spec())
    return ApiKeyView(api_key=made.value, key=KeyView.model_validate(made.key))


def revoke_endpoint_key(call: Call) -> None:
    """Revoke a key: calls with it are refused from now on"""
    keys.revoke(call.session, call.context, call.entity, call.ids["key_id"])


async def list_builders(call: AsyncCall) -> Page[BackendView]:
    """List the builders of packages"""
    return await _backends(call, list(call.context.builders.values()))


async def list_targets(call: AsyncCall) -> Page[BackendView]:
    """List where models can be published: the operator's targets, and those of the caller's groups"""
    page = await _backends(call, list(call.context.targets.values()))

    def work(session: Session) -> list[BackendView]:
        return [_place_view(row) for row in deployment_targets.usable(session, call.actor)]

    return Page(items=[*page.items, *await call.db(work, write=False)])


def _place_view(row: Credential) -> BackendView:
    """A deployment target as it was when last used: asking each of them now would take long."""
    seen = row.last_connection or {"ok": True, "message": "It was not used yet."}
    return BackendView(
        name=row.name, description=row.description, available=seen["ok"], reason=seen["message"]
    )


def list_brokers(call: Call) -> Page[BrokerView]:
    """List the brokers of the caller's groups"""

    def rank(account: brokers.BrokerAccount) -> str:
        return f"{account.name.lower()}\x1f{account.id}"

    accounts = sorted(brokers.list_brokers(call.session, call.actor), key=rank)
    items, cursor = slice_by(accounts, rank, limit=call.query.limit, cursor=call.query.cursor)
    return Page(items=[BrokerView.model_validate(item) for item in items], next_cursor=cursor)


async def _backends(call: AsyncCall, backends: list[Any]) -> Page[BackendView]:
    items = []
    for backend in backends:
        health: Health = await call.run(backend.health)
        items.append(
            BackendView(
                name=backend.name,
                description=backend.description,
                available=health.available,
                reason=health.reason,
            )
        )
    return Page(items=items)
