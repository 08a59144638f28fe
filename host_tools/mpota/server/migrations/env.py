"""Run by Alembic for `Database.upgrade`, with the connection that it is given."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
context.run_migrations()
