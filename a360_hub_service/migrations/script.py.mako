"""${message}."""

import sqlalchemy as sa
from alembic import op
import a360_hub_service.entities.base
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "return"}


def downgrade() -> None:
    ${downgrades if downgrades else "return"}
