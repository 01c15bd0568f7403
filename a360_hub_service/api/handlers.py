"""The handlers every route goes through: who asks, may they, the body in its limit, the answer or problem."""

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from jupyterhub.services.auth import HubOAuthenticated
from pydantic import BaseModel
from sqlalchemy import select
from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..entities import GroupRole, User, new_id
from ..policy import Role
from ..services import projects
from ..services.context import Actor, Context
from .bodies import read_body
from .identity import IdentityProvider
from .loop_watch import LoopWatch
from .problems import HTTPProblem, Problem, as_json, internal, problem_of
from .routing import AsyncCall, Call, Route
from .scope import authorise

T = TypeVar("T")
log = logging.getLogger("a360")
JSON_LIMIT = 1024 * 1024
POLICY_HEADER = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(slots=True)
class Web:
    """What handlers need: the context, the pool that may block, and who knows the callers."""

    context: Context
    pool: Executor
    identity: IdentityProvider
    ready: bool = False
    watch: LoopWatch | None = None
    used_at: float = 0.0
    """When the service was last :meth:`used`, by the clock that only goes forward."""

    def used(self) -> None:
        """Somebody asks, or is being answered."""
        self.used_at = time.monotonic()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run blocking work in the pool."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *args)


@stream_request_body
class BaseHandler(HubOAuthenticated, RequestHandler):
    """Identity, security headers and problem documents; bodies are read only once the caller is known."""

    routes: dict[str, Route]
    body_limit = JSON_LIMIT

    def initialize(self, web: Web, routes: dict[str, Route] | None = None) -> None:
        """Take the parts and this path's operations by method."""
        self.web = web
        self.routes = routes or {}
        self.actor: Actor | None = None
        self.token: str | None = None
        self.ids: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._received = 0
        self._prepared = False

    def set_default_headers(self) -> None:
        """Headers of every answer: nothing is sniffed, framed, or loaded from elsewhere."""
        self.set_header("Content-Security-Policy", POLICY_HEADER)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    def check_xsrf_cookie(self) -> None:
        """Check browsers' requests only; tornado asks before we know whether a token was sent."""
        if self._prepared:
            super().check_xsrf_cookie()

    @property
    def route(self) -> Route:
        """The operation asked for."""
        route = self.routes.get(self.request.method or "")
        if route is None:
            raise HTTPProblem(
                405,
                "method-not-allowed",
                "Method not allowed",
                f"{self.request.method} is not possible here; try {', '.join(sorted(self.routes))}.",
            )
        return route

    async def prepare(self) -> None:
        """Find out who asks and whether they may, before the body is read.

        An answer given before the body costs the connection: tornado closes it. So only what carries much is
        refused at once; the rest is heard out, and the next request finds the connection open.
        """
        self._prepared = True
        self.web.used()
        # The server itself takes little, for handlers that hold whole bodies; here body_limit counts.
        connection: Any = self.request.connection
        connection.set_max_body_size(2**62)
        try:
            await self.admit()
        except Exception as error:
            if self._carries_much():
                self.set_header("Connection", "close")
                raise
            refusal = error

            async def refuse(**_: str) -> None:
                raise refusal

            self.answer_with(refuse)

    def answer_with(self, answer: Callable[..., Awaitable[None]]) -> None:
        """Have this answer the request, once its body is read, in place of the method it asks for."""
        self.body_limit = 0
        setattr(self, (self.request.method or "get").lower(), answer)

    def _carries_much(self) -> bool:
        length = self.request.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in self.request.headers and self.body_limit > JSON_LIMIT
        return chunked or (length.isdigit() and int(length) > JSON_LIMIT)

    async def admit(self) -> None:
        """Refuse what is too large, who is unknown and who may not."""
        route = self.route
        self._refuse_large()
        if not self.web.ready:
            raise HTTPProblem(
                503, "starting", "Starting", "The service is starting.", "Try again in a few seconds."
            )
        self.ids = {name: str(value) for name, value in self.path_kwargs.items()}
        identity = await self.web.identity.identify(self, fresh=route.fresh)
        if identity is None:
            raise HTTPProblem(
                401,
                "not-signed-in",
                "Not signed in",
                "This needs a signed-in user.",
                "Sign in, or send a token of the Hub in the header Authorization.",
            )
        self.token = identity.token
        # Whoever asks tornado for the user later (templates do) must not have it ask the Hub, blocking.
        self.current_user = identity.name
        self.actor = await self.web.run(self._admit, identity.name, identity.groups, route)

    def flush(self, include_footers: bool = False) -> "asyncio.Future[None]":
        """Send what was written, of answers that stream again and again."""
        self.web.used()
        return super().flush(include_footers)

    def _refuse_large(self) -> None:
        length = self.request.headers.get("Content-Length")
        if length and length.isdigit() and int(length) > self.body_limit:
            raise HTTPProblem(
                413,
                "too-large",
                "Too large",
                f"The body has {int(length):,} bytes; at most {self.body_limit:,} are taken.",
                "Split the file into smaller ones." if self.body_limit > JSON_LIMIT else None,
            )

    def _admit(self, name: str, groups: tuple[str, ...], route: Route) -> Actor:
        with self.web.context.database.session(write=False) as session:
            rows = session.scalars(select(GroupRole.role).where(GroupRole.group_name.in_(groups)))
            actor = Actor(name, groups, frozenset(Role(row) for row in rows))
            known = session.get(User, name) is not None
            authorise(session, actor, route.action, self.ids)
        if not known:
            with self.web.context.database.session() as session:
                projects.know_user(session, name)
        return actor

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Collect the body up to the limit; what comes after it (a chunked body has no length) is let go."""
        self.web.used()
        self._received += len(chunk)
        if self._received <= self.body_limit:
            self._chunks.append(chunk)
        return None

    def log_exception(self, *args: Any) -> None:
        """Leave the logging of errors to :meth:`write_error`, which knows which ones matter."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a problem document, whatever went wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = problem_of(error) if error else None
        if problem is None and isinstance(error, HTTPError):
            problem = Problem(
                title=self._reason,
                status=error.status_code,
                detail=error.log_message or self._reason,
                code=self._reason.lower().replace(" ", "-"),
            )
        if problem is None:
            reference = new_id()[-12:]
            log.error("unexpected error %s in %s", reference, self.request.path, exc_info=error)
            problem = internal(reference)
        self.set_status(problem.status)
        if problem.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if problem.status == 405:
            self.set_header("Allow", ", ".join(sorted(self.routes)))
        if not self.request._body_future.done():
            # Tornado closes the connection, since the rest of the body would be read as the next request.
            self.set_header("Connection", "close")
        self.set_header("Content-Type", "application/problem+json")
        self.finish(json.dumps(as_json(problem)))

    def query_arguments(self) -> dict[str, Any]:
        """The query as a mapping, each name once; ``token`` and ``_xsrf`` are not the route's business.

        The values are as they were sent: tornado's way to ask for them makes spaces of control characters.
        """
        return {
            name: self.decode_argument(values[-1], name)
            for name, values in self.request.query_arguments.items()
            if name not in ("token", "_xsrf")
        }

    async def parse_body(self) -> BaseModel | None:
        """The JSON body as the route's model."""
        if self.route.body is None:
            return None
        if self._received > self.body_limit:
            raise HTTPProblem(413, "too-large", "Too large", f"At most {self.body_limit:,} bytes are taken.")
        return await read_body(self.route.body, b"".join(self._chunks), self.web.run)


class JSONHandler(BaseHandler):
    """Every operation that takes and gives JSON."""

    async def _answer(self) -> None:
        route = self.route
        body, query = await self.parse_body(), route.query.model_validate(self.query_arguments())
        if inspect.iscoroutinefunction(route.handler):
            assert self.actor
            call = AsyncCall(
                self.web.context, self.actor, self.ids, self.web.run, body=body, query=query, token=self.token
            )
            status, payload = route.status, serialise(await route.handler(call))
        else:
            status, payload = await self.web.run(self._work, route, body, query)
        self.set_status(status)
        if payload is not None:
            self.set_header("Content-Type", "application/json")
            self.finish(payload)

    def _work(self, route: Route, body: Any, query: Any) -> tuple[int, bytes | None]:
        assert self.actor
        context = self.web.context
        with context.database.session(write=route.method != "GET") as session:
            entity = authorise(session, self.actor, route.action, self.ids)
            call = Call(context, session, self.actor, self.ids, body, query, entity, self.token)
            result = route.handler(call)
            session.flush()
            return call.status or route.status, serialise(result)

    async def get(self, **_: str) -> None:
        """Answer a GET."""
        await self._answer()

    post = put = patch = delete = get


def serialise(result: Any) -> bytes | None:
    """JSON bytes of a model, or ``None`` for an answer without content."""
    if result is None:
        return None
    if isinstance(result, BaseModel):
        return result.model_dump_json().encode()
    return json.dumps(result).encode()


class MissingHandler(BaseHandler):
    """What is asked for under the API's prefix and does not exist."""

    async def admit(self) -> None:
        """Answer 404 without asking who wants to know."""
        raise HTTPProblem(404, "not-found", "Not found", "There is no such address in this API.")


class HealthHandler(RequestHandler):
    """Whether the service can work: 200, or 503 while it starts or when its schema is behind."""

    def initialize(self, web: Web) -> None:
        """Take the parts."""
        self.web = web

    def get(self) -> None:
        """Say how it is."""
        self.set_status(200 if self.web.ready else 503)
        answer: dict[str, Any] = {"status": "ok" if self.web.ready else "starting"}
        if watch := self.web.watch:
            answer |= {"loop_max_ms": round(watch.max_ms, 1), "loop_where": watch.where}
        self.finish(answer)
