"""Versions of data repos, and runs whose kernel says that it is there."""

import sqlalchemy as sa
from alembic import op

import a360_hub_service.entities.base

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = a360_hub_service.entities.base.UTCDateTime
    op.create_table(
        "data_commits",
        sa.Column("data_repo_id", sa.String(length=32), nullable=False),
        sa.Column("line_id", sa.String(length=32), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(length=32), nullable=True),
        sa.Column("ancestry", sa.JSON(), nullable=False),
        sa.Column("branch", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("change_count", sa.Integer(), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_repo_id"],
            ["data_repos.id"],
            name=op.f("fk_data_commits_data_repo_id_data_repos"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_commits")),
        sa.UniqueConstraint("line_id", "depth", name=op.f("uq_data_commits_line_id_depth")),
    )
    op.create_index("ix_data_commits_data_repo_id_id", "data_commits", ["data_repo_id", "id"])
    op.create_table(
        "data_entries",
        sa.Column("line_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("commit_id", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["commit_id"],
            ["data_commits.id"],
            name=op.f("fk_data_entries_commit_id_data_commits"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("line_id", "key", "depth", name=op.f("pk_data_entries")),
    )
    op.create_index("ix_data_entries_commit_id", "data_entries", ["commit_id"])
    op.create_table(
        "data_branches",
        sa.Column("data_repo_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("line_id", sa.String(length=32), nullable=False),
        sa.Column("head_id", sa.String(length=32), nullable=True),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_repo_id"],
            ["data_repos.id"],
            name=op.f("fk_data_branches_data_repo_id_data_repos"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_branches")),
        sa.UniqueConstraint("data_repo_id", "name", name=op.f("uq_data_branches_data_repo_id_name")),
    )
    op.create_table(
        "data_tags",
        sa.Column("data_repo_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("commit_id", sa.String(length=32), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_repo_id"],
            ["data_repos.id"],
            name=op.f("fk_data_tags_data_repo_id_data_repos"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_tags")),
        sa.UniqueConstraint("data_repo_id", "name", name=op.f("uq_data_tags_data_repo_id_name")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("alive_until", time(), nullable=True))
        batch_op.create_index("ix_runs_alive_until", ["alive_until"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index("ix_runs_alive_until")
        batch_op.drop_column("alive_until")
    op.drop_table("data_tags")
    op.drop_table("data_branches")
    op.drop_table("data_entries")
    op.drop_table("data_commits")
