"""Alembic's environment: online migrations only, over the URL the caller hands in."""

from alembic import context

from a360_hub_service.database import make_engine
from a360_hub_service.entities import Base

engine = make_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        user_module_prefix="a360_hub_service.entities.base.",
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
engine.dispose()
