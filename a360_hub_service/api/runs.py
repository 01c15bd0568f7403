"""Runs of an experiment and their artifacts."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasPath, Field, JsonValue, WithJsonSchema
from sqlalchemy.orm import Session

from ..backends.storage import Storage
from ..entities import Artifact, Run
from ..errors import Conflict, NotFound
from ..services import runs
from .certificates import CertificateForm, CertificateView
from .handlers import BaseHandler
from .json_values import Values
from .routing import AsyncCall, Call, Form, Page, View
from .scope import authorise
from .texts import Whole
from .transfers import send_file

ArtifactKind = Literal["model", "native_model", "preprocessor", "baseline", "notebook"]
Dataset = Annotated[str, Field(max_length=4096)]
# A run that failed has to be marked so, whatever its error printed.
ErrorText = Annotated[
    str,
    AfterValidator(lambda text: text.replace("\0", "\ufffd")),
    WithJsonSchema({"type": "string", "pattern": r"^[\s\S]*$"}),
]


class RunForm(Form):
    """What is known of a run; it is merged into what is there. NaN is `null`."""

    hyperparameters: Values = Field(default_factory=dict)
    metrics: Values = Field(default_factory=dict)
    metadata: Values = Field(default_factory=dict)
    dataset: Dataset | None = None

    def values(self) -> runs.Values:
        """What the use case takes."""
        return runs.Values(self.hyperparameters, self.metrics, self.metadata, self.dataset)


class ArtifactForm(Form):
    """A stored object of a run; its file is in the run's folder already."""

    name: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128)
    kind: ArtifactKind
    file_key: str = Field(min_length=1, max_length=1024)
    size: Whole = Field(ge=0, lt=2**53, description="Bytes.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class FinishForm(RunForm):
    """How a run ended, and the last of what is known of it."""

    status: Literal["finished", "failed"]
    error: ErrorText | None = Field(None, description="Why it failed.")
    artifacts: list[ArtifactForm] = Field(default_factory=list, max_length=100)
    certificate: CertificateForm | None = Field(
        None, description="Without one the run cannot be packaged. It is about the artifacts."
    )

    def outcome(self) -> runs.Outcome:
        """What the use case takes."""
        artifacts = [runs.ArtifactSpec(**artifact.model_dump()) for artifact in self.artifacts]
        certificate = None if self.certificate is None else self.certificate.document()
        return runs.Outcome(self.status, self.values(), self.error, artifacts, certificate)


class ArtifactView(View):
    """A stored object of a run."""

    id: str
    run_id: str
    name: str
    kind: str
    file_key: str
    size: int
    sha256: str
    created_at: datetime


class RunView(View):
    """A run; it has artifacts only once it is finished."""

    id: str
    experiment_id: str
    status: Literal["running", "finished", "failed"]
    hyperparameters: dict[str, JsonValue]
    metrics: dict[str, JsonValue]
    metadata: dict[str, JsonValue] = Field(validation_alias=AliasPath("run_metadata"))
    dataset: str | None
    error: str | None
    data_repo_id: str
    artifact_prefix: str
    artifacts: list[ArtifactView]
    certificate: CertificateView | None
    created_by: str
    started_at: datetime
    ended_at: datetime | None


def list_runs(call: Call) -> Page[RunView]:
    """List an experiment's runs with their artifacts"""
    rows, cursor = runs.list_runs(call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor)
    return Page(items=[RunView.model_validate(row) for row in rows], next_cursor=cursor)


def start_run(call: Call) -> RunView:
    """Begin a run"""
    return RunView.model_validate(runs.start(call.session, call.actor, call.entity, call.body.values()))


def get_run(call: Call) -> RunView:
    """Show a run"""
    return RunView.model_validate(call.entity)


def update_run(call: Call) -> RunView:
    """Add to a running run"""
    return RunView.model_validate(runs.update(call.session, call.entity, call.body.values()))


async def finish_run(call: AsyncCall) -> RunView:
    """Close a run, as finished or failed"""
    outcome: runs.Outcome = call.body.outcome()
    runs.check_outcome(outcome)

    def look(session: Session) -> tuple[Storage, str] | None:
        run = _run(session, call.ids["run_id"])
        if run.status != runs.RUNNING or not outcome.artifacts:
            return None
        return runs.open_storage(session, call.context, run), run.artifact_prefix

    def close(session: Session) -> RunView:
        return RunView.model_validate(runs.finish(session, _run(session, call.ids["run_id"]), outcome))

    # The storage may be slow, so it is asked between the transactions.
    if found := await call.db(look, write=False):
        await call.run(runs.check_files, *found, outcome.artifacts)
    return await call.db(close)


def _run(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound("There is no such run any more.")
    return run


class ArtifactContent(BaseHandler):
    """An artifact's file, as a stream."""

    operations = {"GET": "get_artifact_content"}

    def compute_etag(self) -> None:
        """Leave tags to the storage: tornado would make one of what is in memory."""

    async def get(self, **_: str) -> None:
        """Download an artifact, or a part of it"""
        self.route.query.model_validate(self.query_arguments())
        artifact, storage = await self.web.run(self._open)
        await self.web.run(_check, storage, artifact)
        await send_file(self, storage, artifact.file_key, artifact.file_key.rpartition("/")[2])

    def _open(self) -> tuple[Artifact, Storage]:
        assert self.actor
        context = self.web.context
        with context.database.session(write=False) as session:
            artifact: Artifact = authorise(session, self.actor, self.route.action, self.ids)
            return artifact, runs.open_storage(session, context, artifact.run)


def _check(storage: Storage, artifact: Artifact) -> None:
    info = storage.stat(artifact.file_key)
    if info is None:
        raise NotFound(
            f"The file {artifact.file_key} is gone from the data repo.",
            hint="Choose another run, or train again.",
        )
    if info.size != artifact.size:
        raise Conflict(
            f"The file {artifact.file_key} is not the one the run stored.",
            hint="Somebody changed it in the data repo. Choose another run, or train again.",
        )
