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
SHARE: Final = RUNNING // 4
"""How many of them may be of one organisation."""
LONGEST: Final = 300.0
"""Seconds that one of them may take."""
LEAVE: Final = 3.0
"""Seconds that they have to keep what there is when the server stops."""

T = TypeVar("T")
U = TypeVar("U")

log = structlog.get_logger("api.sse")


class EventLog:
    """The events of one stream. `first` is the number of the oldest one that is still kept."""

    def __init__(self, streams: "Streams") -> None:
        self.bytes = self.last = 0
        self.over = False
        self._streams = streams
        self._events: list[tuple[int, bytes]] = []
        self._changed = asyncio.Event()

    def push(self, name: str, data: BaseModel | dict[str, Any]) -> None:
        """What is too much for the stream is left out; its number is missing then."""
        body = data.model_dump_json().encode() if isinstance(data, BaseModel) else orjson.dumps(data)
        self.last += 1
        more = len(body)
        if self.over or (name != "message.end" and (self.bytes + more > LARGEST or not self._streams.room(more))):
            return
        frame = b"id: %d\nevent: %b\ndata: %b\n\n" % (self.last, name.encode(), body)
        self._events.append((self.last, frame))
        self._count(len(frame))
        self._tell()

    def close(self) -> None:
        """Nothing more will come."""
        self.over = True
        self._tell()

    def trim(self) -> None:
        """Keep the last event only."""
        self._events = self._events[-1:]
        self._count(sum(len(frame) for _, frame in self._events) - self.bytes)

    def drop(self) -> None:
        """Keep nothing, and count no more."""
        self._events, self.over = [], True
        self._count(-self.bytes)
        self._tell()

    def _count(self, more: int) -> None:
        self.bytes += more
        self._streams.bytes += more

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
    bytes: int = 0
    """Of all their events."""
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
                stream.events.drop()
                del self._streams[id]

    def room(self, more: int) -> bool:
        """Whether so many bytes can be kept, if need be in place of streams that are over."""
        if self.bytes + more > ALTOGETHER:
            self._prune(more)
        return self.bytes + more <= ALTOGETHER

    def stop(self) -> None:
        """Every answer that is still being made ends with what there is."""
        for _, stream in self._streams.values():
            if not stream.events.over:
                stream.stop()

    def _prune(self, more: int = 0) -> None:
        now = self.clock.monotonic()
        for id, (begun, stream) in list(self._streams.items()):
            if stream.events.over and now - begun >= KEPT:
                stream.events.drop()
                del self._streams[id]
        for _, stream in self._streams.values():
            if self.bytes + more <= ALTOGETHER:
                break
            if stream.events.over:
                stream.events.trim()


class Background:
    """Work that outlives its request. Use as an async context manager: it ends before that is left."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._stack = AsyncExitStack()
        self._tasks: dict[asyncio.Task[Any], str] = {}
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

    def start(self, work: Coroutine[Any, Any, None], name: str, owner: str) -> None:
        """`work` fails for nobody: what it raises is logged, and it is broken off after `LONGEST`. `owner` is the
        organisation. Raises Unavailable when too much is going on."""
        full = len(self._tasks) >= RUNNING or list(self._tasks.values()).count(owner) >= SHARE
        if self._group is None or full:
            work.close()
            raise Unavailable("Too many answers are being given. Please try again in a moment.", retry_after=2)
        task = self._group.create_task(_contained(work, name), name=name)
        self._tasks[task] = owner
        task.add_done_callback(self._tasks.pop)

    async def first(self, work: Coroutine[Any, Any, T], begun: "asyncio.Future[U]", owner: str) -> T | U:
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
            finally:
                if not (done.done() or begun.done()):
                    done.set_exception(Unavailable("This took too long. Please try again."))

        self.start(settle(), "answered once", owner)
        either: set[asyncio.Future[Any]] = {begun, done}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return begun.result() if begun.done() else done.result()


async def _contained(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        async with asyncio.timeout(LONGEST):
            await work
    except TimeoutError:
        log.warning("background.too_long", work=name)
    except ApiError as error:
        log.info("background.refused", work=name, code=error.code)
    except Exception:  # the last resort of work that nobody waits for: the other answers go on
        log.exception("background.failed", work=name)
