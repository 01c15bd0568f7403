"""How a route is written down: one row of a table, from which handlers and the OpenAPI document are made."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError
from sqlalchemy.orm import Session

from ..policy import Action
from ..services.context import Actor, Context
from .texts import ANY_TEXT, SOME_TEXT

T = TypeVar("T")
Item = TypeVar("Item")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


class Form(BaseModel):
    """Base of every request body: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say of texts what becomes of them here: blanks around them do not count, and NUL is refused."""
        schema = handler(core)
        for field_schema in handler.resolve_ref_schema(schema).get("properties", {}).values():
            for option in (field_schema, *field_schema.get("anyOf", ())):
                if option.get("type") == "string" and not {"pattern", "enum", "const"} & option.keys():
                    option["pattern"] = SOME_TEXT if option.get("minLength") else ANY_TEXT
        return schema

    @field_validator("*", mode="before")
    @classmethod
    def _not_too_long(cls, value: Any, info: ValidationInfo) -> Any:
        """Count a text as it was sent, blanks around it included: what the document says."""
        if isinstance(value, str) and info.field_name:
            limits = (m for m in cls.model_fields[info.field_name].metadata if isinstance(m, MaxLen))
            most = next((limit.max_length for limit in limits), len(value))
            if len(value) > most:
                raise PydanticKnownError("string_too_long", {"max_length": most})
        return value

    @field_validator("*")
    @classmethod
    def _no_nul(cls, value: Any) -> Any:
        """Refuse what PostgreSQL cannot store and no person types."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("holds a NUL character")
        return value


class View(BaseModel):
    """Base of every answer; built from entities by attribute."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[Item]):
    """A piece of a list, and where the next one starts (``null`` at the end)."""

    items: list[Item]
    next_cursor: str | None = None


class PageQuery(Form):
    """The query of every list."""

    limit: int = Field(50, ge=1, le=1000, description="How many at most.")
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before.")


class NoQuery(Form):
    """A route without query parameters."""


@dataclass(slots=True)
class Call:
    """One authorised request, as a handler sees it.

    ``ids`` holds the path's parameters; ``entity`` is what the path names, loaded in ``session`` and already
    checked to be the caller's to see.
    """

    context: Context
    session: Session
    actor: Actor
    ids: dict[str, str]
    body: Any = None
    query: Any = None
    entity: Any = None
    token: str | None = None
    status: int | None = None


@dataclass(slots=True)
class AsyncCall:
    """One authorised request for a handler that waits for the Hub; database work goes through :meth:`db`."""

    context: Context
    actor: Actor
    ids: dict[str, str]
    run: Callable[..., Awaitable[Any]]
    body: Any = None
    query: Any = None
    token: str | None = None

    async def db(self, work: Callable[[Session], T], *, write: bool = True) -> T:
        """Run ``work(session)`` in the thread pool, in one transaction."""

        def transaction() -> T:
            with self.context.database.session(write=write) as session:
                return work(session)

        result: T = await self.run(transaction)
        return result


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API.

    Attributes
    ----------
    method, path
        The path is below the API's prefix; parameters in braces, ``{key:path}`` takes slashes too.
    handler
        A function over :class:`Call`, a coroutine function over :class:`AsyncCall`, or a
        :class:`tornado.web.RequestHandler` class for streams.
    action
        What the caller needs permission for.
    body, query, returns
        Pydantic models; ``returns`` may be ``None`` for 204.
    status
        The status of success.
    stream
        Media type of a streamed answer; ``upload`` of a streamed body.
    fresh
        Ask the Hub anew who the caller is, rather than trust a cached answer.
    """

    method: Method
    path: str
    handler: Any
    action: Action
    returns: Any = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] = NoQuery
    status: int = 200
    tag: str = ""
    stream: str | None = None
    upload: bool = False
    fresh: bool = False
    also: tuple[int, ...] = field(default=())

    @property
    def name(self) -> str:
        """The operation's identifier: the handler's name, or what the handler class calls this method."""
        if isinstance(self.handler, type):
            names: dict[str, str] = getattr(self.handler, "operations", {})
            return names[self.method]
        return str(self.handler.__name__)

    @property
    def summary(self) -> str:
        """First line of the handler's documentation."""
        source = (
            getattr(self.handler, self.method.lower()) if isinstance(self.handler, type) else self.handler
        )
        return (source.__doc__ or "").strip().split("\n")[0].rstrip(".")

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters."""
        return re.findall(r"{(\w+)(?::path)?}", self.path)


ID = r"[0-9a-f]{32}"


def pattern(path: str) -> str:
    """The regular expression of a path template: ``*_id`` are identifiers, ``:path`` takes slashes."""
    path = re.sub(r"{(\w+):path}", r"(?P<\1>.+)", path)
    path = re.sub(r"{(\w+_id)}", rf"(?P<\1>{ID})", path)
    return re.sub(r"{([a-z]\w*)}", r"(?P<\1>[^/]+)", path)
