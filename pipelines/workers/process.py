"""The server's side of a worker process: start it, keep it, ask it, and let it die without taking anyone along.

`run()` owns the process and the task that reads it; it is the one thing to start, in a TaskGroup. Everything else may
be called from any task of the same loop. Tasks are created inside `run()`'s own TaskGroup, and by `running()`, which
waits for them itself so that an error of its block is not wrapped in a group.
"""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.providers.base import ProviderError
from pipelines.workers.framing import PREFIX, FrameInvalid, Header, decode_header, encode, lengths

log = logging.getLogger(__name__)

LAST_WORDS = 0.5  # seconds for the log of a worker that has ended; it ends by itself unless someone else holds the pipe

Reply = tuple[Header, bytes]
State = Literal["starting", "ready", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What to run and how patient to be (seconds). `public` is what a visitor may read when it fails."""

    kind: str
    config: Mapping[str, Any]
    public: str
    threads: int = 1
    start_timeout: float = 60.0
    call_timeout: float = 30.0
    stop_timeout: float = 2.0
    in_flight: int = 64
    backoff: tuple[float, ...] = (0.1, 0.5, 2.0, 5.0, 10.0)
    healthy_after: float = 30.0
    command: tuple[str, ...] = (sys.executable, "-m", "pipelines.workers.child")


@dataclass(slots=True)
class _Call:
    """Replies to one call, waiting for their reader; the exception or None ends them."""

    replies: asyncio.Queue[Reply | ProviderError | None] = field(default_factory=lambda: asyncio.Queue(256))
    ended: bool = False

    def put(self, reply: Reply | ProviderError | None) -> bool:
        try:
            self.replies.put_nowait(reply)
        except asyncio.QueueFull:
            return False
        return True

    def end(self, reason: ProviderError | None) -> None:
        self.ended = True
        if not self.put(reason):
            self.replies.get_nowait()
            self.put(reason)


class WorkerProcess:
    """One worker, restarted when it dies. Calls that were in its hands fail with a retryable ProviderError; calls made
    meanwhile wait for the next process, within their own deadline."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._state: State = "starting"
        self._changed = asyncio.Condition()
        self._process: Process | None = None
        self._about: Header = {}
        self._reason = "not started"
        self._calls: dict[int, _Call] = {}
        self._last_id = 0
        self._heard_at = 0.0
        self._starts = 0

    @property
    def spec(self) -> WorkerSpec:
        return self._spec

    @property
    def state(self) -> State:
        return self._state

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def starts(self) -> int:
        """How many processes there have been."""
        return self._starts

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    async def run(self) -> None:
        """Keep a worker running until cancelled; then stop it."""
        failures = 0
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._set("starting")
                began = loop.time()
                served = await self._live()
                if served and loop.time() - began > self._spec.healthy_after:
                    failures = 0
                delays = self._spec.backoff
                delay = delays[min(failures, len(delays) - 1)]
                failures += 1
                log.warning("worker %s: %s; next start in %.1f s", self._spec.kind, self._reason, delay)
                await asyncio.sleep(delay)
        finally:
            self._reason = "stopped"
            self._state = "stopped"
            self._fail_calls()
            async with self._changed:
                self._changed.notify_all()

    async def ready(self) -> Header:
        """What the worker said about itself, waiting for it to load. Raises ProviderError when it cannot."""
        try:
            async with asyncio.timeout(self._spec.start_timeout), self._changed:
                await self._changed.wait_for(lambda: self._state != "starting")
        except TimeoutError as error:
            raise self._error(f"not ready after {self._spec.start_timeout:.0f} s ({self._reason})") from error
        if self._state != "ready":
            raise self._error(self._reason)
        return self._about

    async def request(
        self, op: str, args: Mapping[str, Any] | None = None, payload: bytes = b"", *, timeout: float | None = None
    ) -> Reply:
        """One call that has one reply. Raises ProviderError."""
        async with aclosing(self.stream(op, args, payload, timeout=timeout)) as replies:
            async for reply in replies:
                return reply
        raise self._error(f"{op} gave no reply")

    async def stream(
        self, op: str, args: Mapping[str, Any] | None = None, payload: bytes = b"", *, timeout: float | None = None
    ) -> AsyncGenerator[Reply]:
        """The replies to one call. Closing the iterator tells the worker to drop the rest. `timeout` is how long one
        reply may take. Raises ProviderError."""
        patience = timeout or self._spec.call_timeout
        await self.ready()
        if len(self._calls) >= self._spec.in_flight:
            raise self._error(f"{len(self._calls)} calls are waiting already")
        self._last_id += 1
        number, call = self._last_id, _Call()
        self._calls[number] = call
        try:
            self._send({"id": number, "op": op, "args": dict(args or {})}, payload)
            while True:
                asked_at = asyncio.get_running_loop().time()
                try:
                    async with asyncio.timeout(patience):
                        reply = await call.replies.get()
                except TimeoutError as error:
                    self._end_if_stuck(asked_at)
                    raise self._error(f"{op} took longer than {patience:.1f} s") from error
                if reply is None:
                    return
                if isinstance(reply, ProviderError):
                    raise reply
                yield reply
        finally:
            self._calls.pop(number, None)
            if not call.ended and self._state == "ready":
                self._send({"id": number, "cancel": True})

    async def _live(self) -> bool:
        """One process from start to end; whether it ever was ready."""
        served = False
        self._starts += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *self._spec.command, self._spec.kind, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=1 << 20
            )
        except OSError as error:
            self._reason = f"could not start: {error}"
            await self._set("failed")
            return False
        self._process = process
        try:
            async with asyncio.TaskGroup() as group:
                talker = group.create_task(_pass_on(process, self._spec.kind), name=f"log {self._spec.kind}")
                self._send({"configure": {**self._spec.config, "threads": self._spec.threads}})
                served = await self._greet(process)
                if served:
                    await self._listen(process)
                await _stop(process, self._spec.stop_timeout)
                await asyncio.wait([talker], timeout=LAST_WORDS)
                talker.cancel()
        finally:
            self._process = None
            if self._state == "ready":
                self._state = "starting"
            self._fail_calls()
            await _stop(process, self._spec.stop_timeout)
        return served

    async def _greet(self, process: Process) -> bool:
        try:
            async with asyncio.timeout(self._spec.start_timeout):
                hello = await _receive(process)
        except TimeoutError:
            self._reason = f"did not load in {self._spec.start_timeout:.0f} s"
            await self._set("failed")
            return False
        except FrameInvalid as error:
            self._reason = str(error)
            await self._set("failed")
            return False
        if hello is None or "ready" not in hello[0]:
            self._reason = "ended while loading" if hello is None else str(hello[0].get("failed"))
            await self._set("failed")
            return False
        self._about = hello[0]["ready"]
        await self._set("ready")
        return True

    async def _listen(self, process: Process) -> None:
        """Hand replies to their calls until the process ends."""
        try:
            while reply := await _receive(process):
                self._heard_at = asyncio.get_running_loop().time()
                self._deliver(*reply)
        except FrameInvalid as error:
            self._reason = str(error)
            return
        self._reason = "ended unexpectedly"

    def _deliver(self, header: Header, payload: bytes) -> None:
        number = header.get("id", 0)
        call = self._calls.get(number)
        if call is None:
            return
        if "error" in header:
            detail, retryable = f"{self._spec.kind}: {header['error']}", bool(header.get("retryable", True))
            call.end(ProviderError(detail, retryable=retryable, public=self._spec.public))
            return
        if "item" in header and not call.put((header["item"], payload)):
            call.end(self._error("replies came faster than they were read"))
            self._send({"id": number, "cancel": True})
            return
        if "done" in header:
            call.end(None)

    def _send(self, header: Header, payload: bytes = b"") -> None:
        """Into the pipe's buffer. It cannot grow without end: calls in flight are counted and payloads are limited."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(encode(header, payload))

    def _end_if_stuck(self, since: float) -> None:
        """Kill a worker that has answered nobody since then; `run` starts another."""
        if self._heard_at < since and self._process is not None and self._process.returncode is None:
            log.error("worker %s answers nobody; ending it", self._spec.kind)
            self._process.kill()
            self._state = "starting"

    def _fail_calls(self) -> None:
        for call in self._calls.values():
            call.end(self._error(self._reason))

    def _error(self, detail: str) -> ProviderError:
        return ProviderError(f"{self._spec.kind}: {detail}", retryable=True, public=self._spec.public)

    async def _set(self, state: State) -> None:
        self._state = state
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def running(*workers: WorkerProcess) -> AsyncIterator[None]:
    """Run workers for the length of a block, for programs and tests that have no TaskGroup of their own."""
    tasks = [asyncio.create_task(worker.run(), name=f"worker {worker.spec.kind}") for worker in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _receive(process: Process) -> tuple[Header, bytes] | None:
    assert process.stdout is not None
    try:
        head, size = lengths(await process.stdout.readexactly(PREFIX.size))
        header = decode_header(await process.stdout.readexactly(head))
        return header, await process.stdout.readexactly(size) if size else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _pass_on(process: Process, kind: str) -> None:
    """The worker's own log, line by line, into ours."""
    assert process.stderr is not None
    rest = b""
    while data := await process.stderr.read(8192):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[-8192:]
        for line in lines:
            if text := line.decode(errors="replace").strip():
                level = logging.WARNING if text.startswith(("ERROR", "WARNING", "CRITICAL")) else logging.DEBUG
                log.log(level, "worker %s: %s", kind, text)


async def _stop(process: Process, patience: float) -> None:
    """Close the worker's stdin, which ends it; kill it when that takes too long."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
