"""Publishing, endpoints and their keys."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator
from sqlalchemy import select

from ..entities import Endpoint, Job
from ..errors import NotFound
from ..services import endpoints, keys, publishing
from ..services.keys import KeySpec
from .jobs import JobView
from .routing import AsyncCall, Call, Form, Page, View
from .texts import ANY_TEXT, DISPLAY_NAME, Lifetime, Whole

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
