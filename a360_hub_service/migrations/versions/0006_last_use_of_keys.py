"""When the keys of endpoints were last used."""

import sqlalchemy as sa
from alembic import op

import a360_hub_service.entities.base

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = a360_hub_service.entities.base.UTCDateTime
    with op.batch_alter_table("endpoint_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("last_used_at", time(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("endpoint_keys", schema=None) as batch_op:
        batch_op.drop_column("last_used_at")
