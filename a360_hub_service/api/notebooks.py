"""A run's notebook as a page to read."""

import asyncio
import hashlib
from typing import Any

from sqlalchemy.orm import Session

from ..backends.notebooks import LARGEST, page
from ..backends.storage import Storage
from ..entities import Artifact
from ..errors import Conflict, Invalid, NotFound, TooLarge
from ..policy import Action
from ..services import runs
from ..services.context import Actor
from .pages import Page

NOTEBOOK = "notebook"
SANDBOX = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""No script, no frame, no form, no popup, nothing from elsewhere, and no origin: what the page holds is
somebody's, and whoever looks at it has a session here."""
_FORM = "2"
"""Part of every tag: a change of the page's form makes another one of it."""
_TURNS = asyncio.Semaphore(2)


class NotebookPage(Page):
    """One notebook of a run, as it was stored; nothing in it is executed."""

    action = Action.MODEL_VIEW

    def compute_etag(self) -> None:
        """Leave the tag to the artifact, whose checksum is known before anything is read."""

    async def get(self, **_: str) -> None:
        """Show the notebook."""
        artifact, storage, title, note = await self.web.run(self._open)
        # The note names states that change; the notebook itself never does.
        tag = f'"{_FORM}-{hashlib.sha256(f"{artifact.sha256} {title} {note}".encode()).hexdigest()[:32]}"'
        self.set_header("Etag", tag)
        self.set_header("Cache-Control", "private, no-cache")
        # Also of a page that has not changed: browsers keep the headers they got last.
        self.set_header("Content-Security-Policy", SANDBOX)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        if self.check_etag_header():
            self.set_status(304)
            return
        async with _TURNS:
            html = await self.web.run(_render, storage, artifact, title, note)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(html)

    def _open(self) -> tuple[Artifact, Storage, str, str]:
        assert self.actor
        with self.web.context.database.session(write=False) as session:
            return self._found(session, self.actor)

    def _found(self, session: Session, actor: Actor) -> tuple[Artifact, Storage, str, str]:
        artifact = session.get_one(Artifact, self.ids["artifact_id"])
        if artifact.kind != NOTEBOOK:
            raise Invalid(f"{artifact.name} is no notebook.", hint="Only notebooks are shown as pages.")
        if artifact.size > LARGEST:
            raise TooLarge(
                f"The notebook has {artifact.size:,} bytes; up to {LARGEST:,} are shown.",
                hint="Download the artifact, and open it in a workspace.",
            )
        run = artifact.run
        model = run.experiment.model
        title = f"{artifact.name} of {model.model_name} {model.version}"
        note = (
            f"Run {run.id} of {run.experiment.experiment_name}, {run.status}. Read only: nothing here is run."
        )
        return artifact, runs.open_storage(session, self.web.context, run), title, note

    def load(self, session: Session, actor: Actor, asked: None) -> dict[str, Any]:
        """Nothing: this page has no template."""
        return {}


def _render(storage: Storage, artifact: Artifact, title: str, note: str) -> bytes:
    """Read the file and make the page of it."""
    info = storage.stat(artifact.file_key)
    if info is None:
        raise NotFound(
            f"The file {artifact.file_key} is gone from the data repo.", hint="Choose another run."
        )
    content = b"".join(storage.read(artifact.file_key, 0, min(info.size or 0, artifact.size), etag=info.etag))
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        raise Conflict(
            f"The file {artifact.file_key} is not the one the run stored.",
            hint="Somebody changed it in the data repo. Choose another run.",
        )
    return page(content, title, note)
