"""What every service loads before it is ready; imported in the process that services are forked from."""

import dbos  # noqa: F401
import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite  # noqa: F401
from alembic import command  # noqa: F401

from tests.support import service_main  # noqa: F401
