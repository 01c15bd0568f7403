"""Where endpoints run that are published on deployment targets."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAME = "fk_endpoints_deployment_target_id_credentials"


def upgrade() -> None:
    with op.batch_alter_table("endpoints", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deployment_target_id", sa.String(length=32), nullable=True))
        batch_op.create_foreign_key(
            NAME, "credentials", ["deployment_target_id"], ["id"], ondelete="SET NULL"
        )


def downgrade() -> None:
    with op.batch_alter_table("endpoints", schema=None) as batch_op:
        batch_op.drop_constraint(NAME, type_="foreignkey")
        batch_op.drop_column("deployment_target_id")
