"""Volume accounts: where a user may keep the files of a data repo (F181)."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ..backends.storage.base import AWS, LOCAL
from ..entities import Credential
from ..errors import Invalid
from .context import Actor, Context

THIS_MACHINE = "local"
DATA_SOURCE, DATA_REPO = "data_source", "data_repo"
S3 = "aws_s3"


@dataclass(frozen=True, slots=True)
class VolumeAccount:
    """An account in which volumes can be made."""

    id: str
    name: str
    description: str
    storage_provider: str


def list_accounts(session: Session, context: Context, actor: Actor) -> Sequence[VolumeAccount]:
    """What the caller may use: this machine, if the operator allows it, and the accounts of their groups."""
    accounts = [
        VolumeAccount(row.id, row.name, row.description, AWS)
        for row in session.scalars(_buckets().order_by(Credential.name))
        if set(row.groups) & set(actor.groups)
    ]
    if context.settings.local_volumes:
        accounts.insert(
            0, VolumeAccount(THIS_MACHINE, "This machine", "Folders of the platform's machine.", LOCAL)
        )
    return accounts


def find(session: Session, context: Context, actor: Actor, account_id: str) -> Credential | None:
    """The credential of an account the caller may use; ``None`` for this machine.

    Raises
    ------
    Invalid
        If there is none, or none for the caller: both answer alike.
    """
    if account_id == THIS_MACHINE and context.settings.local_volumes:
        return None
    row = session.scalar(_buckets().where(Credential.id == account_id))
    if row is None or not set(row.groups) & set(actor.groups):
        raise Invalid.field(
            "volume_account",
            "is none that you may use",
            hint="Ask an administrator to give one of your groups an account.",
        )
    return row


def _buckets() -> Select[Credential]:
    return select(Credential).where(Credential.category == DATA_SOURCE, Credential.service == S3)
