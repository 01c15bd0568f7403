"""Packages of models."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from sqlalchemy.orm import Session

from a360runtime.serving.mqtt import topics

from ..entities import Package
from ..policy import Action
from ..services import builders, jobs, packaging
from .gates import ScanSummary, summaries
from .jobs import JobView
from .routing import AsyncCall, Call, Form, Page, View
from .scope import authorise
from .texts import REPOSITORY


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
