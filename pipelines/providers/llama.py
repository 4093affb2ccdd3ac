"""The embedded language model: a llama.cpp server in a worker process, as an endpoint for `openai_compat`."""

import secrets
from pathlib import Path

from pipelines.providers.openai_compat import UNAVAILABLE, Endpoint
from pipelines.workers.process import WorkerProcess, WorkerSpec


def worker(name: str, model: Path, *, threads: int = 2, parallel: int = 4, context: int = 2048) -> WorkerSpec:
    """The process that serves the GGUF file `model` under `name` to `parallel` conversations of `context` tokens each,
    on the loopback address, to whoever has its key."""
    config = {
        "name": name,
        "model": str(model),
        "parallel": parallel,
        "context": context,
        "key": secrets.token_urlsafe(24),
    }
    return WorkerSpec("language_model", config, public=UNAVAILABLE, threads=threads, start_timeout=120)


class EmbeddedEndpoint:
    """Where the embedded server listens now, waiting for it while it starts. Raises ProviderError."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process

    async def __call__(self) -> Endpoint:
        about = await self._process.ready()
        return Endpoint(about["base_url"], self._process.spec.config["key"], local=True)
