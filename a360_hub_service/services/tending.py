"""Keeping endpoints as the database says, whatever became of processes, containers and machines."""

import contextlib
import logging
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.base import Log
from ..backends.targets.base import Target
from ..entities import Endpoint, Job
from ..jobs.work import ACTIVE
from .context import Context
from .endpoints import RUNNING, load_for_target

log = logging.getLogger("a360")


class _Wanted(NamedTuple):
    """An endpoint that should run; `account` is its deployment target, if it is at one."""

    id: str
    slug: str
    target: str
    account: str | None


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
        targets = self._targets()
        for name, target in targets.items():
            with self._reporting(name, f"the target {name} could not be restored"):
                target.restore(self._logger(name))
        for wanted in self._wanted():
            with self._reporting(wanted.slug, f"the endpoint {wanted.slug} could not be restored"):
                self._tend(wanted)
        for name, target in targets.items():
            with self._reporting(f"slugs of {name}", f"{name} does not say what runs"):
                self._report_unknown(name, target)

    def _targets(self) -> dict[str, Target]:
        """The operator's targets, and those on the deployment targets where something is to run, by name."""
        query = select(Endpoint.target, Endpoint.deployment_target_id).distinct()
        query = query.where(Endpoint.desired == RUNNING, Endpoint.deployment_target_id.is_not(None))
        with self.context.database.session(write=False) as session:
            used = [(row.target, row.deployment_target_id) for row in session.execute(query)]
        offered = self.context.targets
        return {
            **offered,
            **{f"{name} {account}": offered[name].at(account) for name, account in used if name in offered},
        }

    def _wanted(self) -> list[_Wanted]:
        """The endpoints that should run and that no job works on."""
        with self.context.database.session(write=False) as session:
            busy = select(Job.model_id).where(Job.status.in_(ACTIVE))
            query = (
                select(Endpoint.id, Endpoint.slug, Endpoint.target, Endpoint.deployment_target_id)
                .where(Endpoint.desired == RUNNING, Endpoint.model_id.not_in(busy))
                .order_by(Endpoint.id)
            )
            return [_Wanted(*row) for row in session.execute(query)]

    def _tend(self, wanted: _Wanted) -> None:
        endpoint_id, slug = wanted.id, wanted.slug
        offered = self.context.targets.get(wanted.target)
        if offered is None:
            self._say(slug, f"the endpoint {slug} is on the target {wanted.target}, which is not configured")
            return
        target = offered.at(wanted.account or "")
        status = target.status(slug)
        self._say(f"status of {slug}", f"the endpoint {slug} is {status.status}", logging.INFO)
        if status.status != "absent":
            return
        with self.context.database.session(write=False) as session:
            if not _should_run(session, endpoint_id):
                return
            spec, keys = load_for_target(self.context, session, endpoint_id)
        target.write_keys(slug, keys)
        target.apply(spec, self._logger(slug))
        # It may have been withdrawn meanwhile, by a job that found nothing to remove.
        with self.context.database.session(write=False) as session:
            kept = _should_run(session, endpoint_id)
        if not kept:
            target.remove(slug, self._logger(slug))

    def _report_unknown(self, name: str, target: Target) -> None:
        slugs = target.slugs()
        with self.context.database.session(write=False) as session:
            known = set(session.scalars(select(Endpoint.slug).where(Endpoint.slug.in_(slugs))))
        for slug in set(slugs) - known:
            self._say(f"unknown {slug}", f"{name} runs an endpoint {slug} that the database does not know")

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

    def _logger(self, name: str) -> Log:
        return lambda line: self._say(f"work on {name}", f"{name}: {line}", logging.INFO)

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
