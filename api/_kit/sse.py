"""Server-sent events: numbered, kept for a while, and read by whoever comes, from wherever they left off.

What makes the events does not wait for who reads them, and goes on when nobody does. A stream that grows beyond its
budget stops keeping, and says so; streams that are over make room for new ones, oldest first.
"""

import asyncio  # create_task only inside the TaskGroup of Background
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self, TypeVar

import orjson
import structlog
from pydantic import BaseModel

from api._kit.errors import ApiError, Unavailable
from pipelines.ports import Clock

PING: Final = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the connection for dead."""
KEPT: Final = 600.0
"""Seconds for which a stream that is over can be read again."""
LARGEST: Final = 8 * 1024 * 1024
"""Bytes of one stream: more than two minutes of sound."""
ALTOGETHER: Final = 64 * 1024 * 1024
"""Bytes of all streams of a process."""
RUNNING: Final = 128
"""Answers that are made at once for streams."""
LEAVE: Final = 3.0
"""Seconds that they have to keep what there is when the server stops."""

T = TypeVar("T")
U = TypeVar("U")

log = structlog.get_logger("api.sse")


class EventLog:
    """The events of one stream. `first` is the number of the oldest one that is still kept."""

    def __init__(self) -> None:
        self.bytes = self.last = 0
        self.over = False
        self._events: list[tuple[int, bytes]] = []
        self._changed = asyncio.Event()

    def push(self, name: str, data: BaseModel | dict[str, Any]) -> None:
        """What is too much for the stream is left out; its number is missing then."""
        body = data.model_dump_json().encode() if isinstance(data, BaseModel) else orjson.dumps(data)
        self.last += 1
        if self.over or (self.bytes + len(body) > LARGEST and name != "message.end"):
            return
        frame = b"id: %d\nevent: %b\ndata: %b\n\n" % (self.last, name.encode(), body)
        self._events.append((self.last, frame))
        self.bytes += len(frame)
        self._tell()

    def close(self) -> None:
        """Nothing more will come."""
        self.over = True
        self._tell()

    def trim(self) -> None:
        """Keep the last event only."""
        self._events = self._events[-1:]
        self.bytes = sum(len(frame) for _, frame in self._events)

    async def after(self, number: int) -> tuple[int, bytes]:
        """What follows event `number`, waited for, and the number of its last event; no bytes when nothing will."""
        while True:
            found = [frame for n, frame in self._events if n > number]
            if found or self.over:
                return self.last, b"".join(found)
            self._changed.clear()
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()


async def written(events: EventLog, after: int) -> AsyncIterator[bytes]:
    """The stream as it goes out, with pings."""
    while True:
        try:
            async with asyncio.timeout(PING):
                after, data = await events.after(after)
        except TimeoutError:
            yield b": ping\n\n"
            continue
        if not data:
            return
        yield data


class Stream(Protocol):
    """An answer that is being given, or was."""

    @property
    def id(self) -> str: ...

    @property
    def conversation_id(self) -> str: ...

    @property
    def events(self) -> EventLog: ...

    def stop(self, played: int | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Streamed:
    """A response of events from after number `after` on. `whole` is what they add up to, once it is there."""

    events: EventLog
    whole: Callable[[], Awaitable[BaseModel]]
    after: int = 0


@dataclass
class Streams:
    """The streams of this process, by id."""

    clock: Clock
    _streams: OrderedDict[str, tuple[float, Stream]] = field(default_factory=OrderedDict)

    def add(self, stream: Stream) -> None:
        self._prune()
        self._streams[stream.id] = (self.clock.monotonic(), stream)

    def find(self, id: str) -> Stream | None:
        self._prune()
        return self._streams[id][1] if id in self._streams else None

    def forget(self, conversation_id: str) -> None:
        """Stop and drop what belongs to a conversation that is deleted."""
        for id, (_, stream) in list(self._streams.items()):
            if stream.conversation_id == conversation_id:
                stream.stop()
                del self._streams[id]

    def stop(self) -> None:
        """Every answer that is still being made ends with what there is."""
        for _, stream in self._streams.values():
            if not stream.events.over:
                stream.stop()

    def _prune(self) -> None:
        now = self.clock.monotonic()
        for id, (begun, stream) in list(self._streams.items()):
            if stream.events.over and now - begun >= KEPT:
                del self._streams[id]
        total = sum(stream.events.bytes for _, stream in self._streams.values())
        for _, stream in self._streams.values():
            if total <= ALTOGETHER:
                break
            if stream.events.over:
                total -= stream.events.bytes
                stream.events.trim()
                total += stream.events.bytes


class Background:
    """Work that outlives its request. Use as an async context manager: it ends before that is left."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._streams.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE)
        for task in self._tasks:
            task.cancel()
        await self._stack.aclose()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """`work` fails for nobody: what it raises is logged. Raises Unavailable when too much is going on."""
        if self._group is None or len(self._tasks) >= RUNNING:
            work.close()
            raise Unavailable("Too many answers are being given. Please try again in a moment.", retry_after=2)
        task = self._group.create_task(_contained(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def first(self, work: Coroutine[Any, Any, T], begun: "asyncio.Future[U]") -> T | U:
        """What comes first: what `work` begins, or what comes of it. It goes on after it has begun. Raises what it
        raises before."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def settle() -> None:
            try:
                done.set_result(await work)
            except Exception as error:
                if begun.done():
                    raise
                done.set_exception(error)

        self.start(settle(), "answered once")
        either: set[asyncio.Future[Any]] = {begun, done}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return begun.result() if begun.done() else done.result()


async def _contained(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except ApiError as error:
        log.info("background.refused", work=name, code=error.code)
    except Exception:  # the last resort of work that nobody waits for: the other answers go on
        log.exception("background.failed", work=name)
