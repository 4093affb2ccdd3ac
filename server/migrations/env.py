"""Runs the migrations over the connection that `server.infra.db.migrate` opened."""

from importlib import import_module

from alembic import context

from api._kit.store import metadata

for service in ("auth", "chat", "chatbots", "history", "llm", "prompts", "selection", "state", "users"):
    import_module(f"api.{service}.store")

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
