"""What the platform offers to package with and to publish at."""

from typing import Any

from sqlalchemy.orm import Session

from ..backends.base import Health
from ..entities import Credential
from ..services import brokers, deployment_targets
from ..services.paging import slice_by
from .routing import AsyncCall, Call, Page, View


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
