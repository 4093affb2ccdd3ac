"""A server of our own in a process of its own, for the length of a benchmark or a test."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 90
FAST_VOICE = "en_US-joe-medium"
UNLIMITED = {"MA_LIMITS__ANONYMOUS": "1000000", "MA_LIMITS__VISITOR": "1000000"}
"""All visitors of a benchmark come from one address."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def models() -> Path:
    """Where this checkout's models are."""
    return Path(os.environ.get("MA_DATA_DIR", ROOT / "var")).resolve() / "models"


@asynccontextmanager
async def server(**settings: str) -> AsyncIterator[str]:
    """`machineavatars serve` on a fresh database, with the models of this checkout; yields its URL. `settings` are
    environment variables. Raises RuntimeError with the server's words when it does not get ready."""
    with tempfile.TemporaryDirectory() as data:
        port = free_port()
        async with serving(Path(data), port, **settings):
            yield f"http://localhost:{port}"


@asynccontextmanager
async def serving(
    data: Path, port: int, *, program: Sequence[str] = ("-m", "server"), core: int | None = None, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process itself, ready, on the data in a folder; ended by SIGTERM unless it has ended before. `core` is where
    it and its workers run, on a machine that has more than one."""
    if not (data / "models").exists():
        (data / "models").symlink_to(models())
    environment = {**os.environ, "MA_DATA_DIR": str(data), "MA_PORT": str(port), "MA_LOG_LEVEL": "warning"}
    environment = {"MA_TTS__VOICE": FAST_VOICE, **UNLIMITED, **environment, **settings}
    output = data / "server.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *_pinned(core), sys.executable, *program, "serve", cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        await _ready(f"http://localhost:{port}", process, output)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _pinned(core: int | None) -> tuple[str, ...]:
    """What to put before a command, so that it runs on this core."""
    able = core is not None and (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ("taskset", "-c", str(core)) if able else ()


async def _ready(url: str, process: asyncio.subprocess.Process, output: Path) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(READY_SECONDS * 5):
            if process.returncode is not None:
                break
            try:
                async with http.get(f"{url}/health/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    raise RuntimeError(f"the server did not get ready:\n{await asyncio.to_thread(output.read_text)}")
