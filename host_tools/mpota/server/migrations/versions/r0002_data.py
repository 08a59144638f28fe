"""Releases of data, beside those of applications, and indexes for large fleets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("boards", sa.Column("data_version", sa.String(length=64), nullable=True))
    op.add_column("boards", sa.Column("data_sha256", sa.String(length=64), nullable=True))
    op.add_column(
        "attempts",
        sa.Column("is_data", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.drop_index("uq_attempts_open", "attempts")
    op.create_index(
        "uq_attempts_open",
        "attempts",
        ["board_id", "is_data"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_index("ix_attempts_rollout", "attempts")
    op.create_index("ix_attempts_rollout", "attempts", ["rollout_id", "state", "forgiven"])
    op.create_index("ix_attempts_ended", "attempts", ["ended"])
    op.create_index("ix_attempts_offered", "attempts", ["offered"])
    op.create_index("ix_boards_state", "boards", ["state"])
    op.create_index("ix_attempts_load", "attempts", ["rollout_id", "offered_running_s"])
    with op.batch_alter_table("releases") as releases:
        releases.add_column(
            sa.Column("data_sha256", sa.String(length=64), nullable=False, server_default="")
        )
        for name, column in (
            ("uq_releases_sequence", "sequence"),
            ("uq_releases_version", "version"),
        ):
            releases.drop_constraint(name, type_="unique")
            releases.create_unique_constraint(name, ["application", "kind", column])
