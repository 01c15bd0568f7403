"""Keeping endpoints as the database says, whatever became of processes, containers and machines."""

import contextlib
import logging
from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.base import Log
from ..backends.targets.base import Target
from ..entities import Endpoint, Job
from ..jobs.work import ACTIVE
from .context import Context
from .endpoints import RUNNING, load_for_target

log = logging.getLogger("a360")


class Tending:
    """Finds again what runs and starts what should, as often as :meth:`look` is called.

    What cannot be put right is logged when it is first seen, not at each look.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._said: dict[str, str] = {}

    def look(self) -> None:
        """Look once at every target and endpoint.

        Endpoints the database does not know are reported and left alone: they may be another platform's.
        """
        for target in self.context.targets.values():
            with self._reporting(target.name, f"the target {target.name} could not be restored"):
                target.restore(_logger_of(target.name))
        for endpoint_id, slug, name in self._wanted():
            with self._reporting(slug, f"the endpoint {slug} could not be restored"):
                self._tend(endpoint_id, slug, name)
        for target in self.context.targets.values():
            with self._reporting(f"slugs of {target.name}", f"{target.name} does not say what runs"):
                self._report_unknown(target)

    def _wanted(self) -> Sequence[tuple[str, str, str]]:
        """Identifier, slug and target of the endpoints that should run and that no job works on."""
        with self.context.database.session(write=False) as session:
            busy = select(Job.model_id).where(Job.status.in_(ACTIVE))
            query = (
                select(Endpoint.id, Endpoint.slug, Endpoint.target)
                .where(Endpoint.desired == RUNNING, Endpoint.model_id.not_in(busy))
                .order_by(Endpoint.id)
            )
            return [(row.id, row.slug, row.target) for row in session.execute(query)]

    def _tend(self, endpoint_id: str, slug: str, name: str) -> None:
        target = self.context.targets.get(name)
        if target is None:
            self._say(slug, f"the endpoint {slug} is on the target {name}, which is not configured")
            return
        status = target.status(slug)
        self._say(f"status of {slug}", f"the endpoint {slug} is {status.status}", logging.INFO)
        if status.status != "absent":
            return
        with self.context.database.session(write=False) as session:
            if not _should_run(session, endpoint_id):
                return
            spec, keys = load_for_target(self.context, session, endpoint_id)
        target.write_keys(slug, keys)
        target.apply(spec, _logger_of(slug))
        # It may have been withdrawn meanwhile, by a job that found nothing to remove.
        with self.context.database.session(write=False) as session:
            kept = _should_run(session, endpoint_id)
        if not kept:
            target.remove(slug, _logger_of(slug))

    def _report_unknown(self, target: Target) -> None:
        slugs = target.slugs()
        with self.context.database.session(write=False) as session:
            known = set(session.scalars(select(Endpoint.slug).where(Endpoint.slug.in_(slugs))))
        for slug in set(slugs) - known:
            self._say(
                f"unknown {slug}", f"{target.name} runs an endpoint {slug} that the database does not know"
            )

    @contextlib.contextmanager
    def _reporting(self, subject: str, what: str) -> Iterator[None]:
        """Log an error of one target or endpoint; the others go on."""
        try:
            yield
        except Exception as error:
            if self._is_new(subject, f"{type(error).__name__}: {error}"):
                log.exception(what)
        else:
            self._said.pop(subject, None)

    def _say(self, subject: str, line: str, level: int = logging.WARNING) -> None:
        if self._is_new(f"said of {subject}", line):
            log.log(level, line)

    def _is_new(self, subject: str, line: str) -> bool:
        new = self._said.get(subject) != line
        self._said[subject] = line
        return new


def _should_run(session: Session, endpoint_id: str) -> bool:
    """Whether an endpoint is wanted and no job changes it just now."""
    endpoint = session.get(Endpoint, endpoint_id)
    if endpoint is None or endpoint.desired != RUNNING:
        return False
    busy = select(Job.id).where(Job.model_id == endpoint.model_id, Job.status.in_(ACTIVE)).limit(1)
    return session.scalar(busy) is None


def _logger_of(name: str) -> Log:
    def write(line: str) -> None:
        log.info("%s: %s", name, line)

    return write
