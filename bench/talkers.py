"""What the visitors of a benchmark do: type, or ask aloud in real time, and note how long everything took."""

import asyncio
import time
from typing import Any

from bench.crowd import FRAME, Visitor
from bench.speech import first_audible
from pipelines.frames import OUTPUT_RATE

PATIENCE = 30.0
"""Seconds to wait for an answer."""
PAUSE = 1.0
"""Seconds between an answer's end and the next question."""
QUESTION = "Tell me something about the sea, please."


class Typist:
    """Seconds from each message to its acknowledgement, and to the end of the reply."""

    def __init__(self, visitor: Visitor, number: int) -> None:
        self._visitor, self._number = visitor, number
        self.sent = 0
        self.acks: list[float] = []
        self.replies: list[float] = []
        self.late: list[float] = []
        """How much later than it should have a message was sent: the benchmark's own weakness."""
        self._at = 0.0
        self._answered = asyncio.Event()
        visitor.on = self._event

    def _event(self, name: str, payload: Any, at: float) -> None:
        if name == "resp.end":
            self.replies.append(at - self._at)
            self._answered.set()

    async def _say(self) -> asyncio.Future[Any]:
        self.sent += 1
        self._answered.clear()
        self._at = sent = time.monotonic()
        call = await self._visitor.call("say", {"id": f"{self._number}.{self.sent}", "text": QUESTION})

        def acked(call: asyncio.Future[Any]) -> None:
            if not call.cancelled():
                self.acks.append(call.result()[1] - sent)

        call.add_done_callback(acked)
        return call

    async def steadily(self, first: float, every: float, until: float) -> None:
        """One message `every` so many seconds, whatever becomes of the answers."""
        calls, due = [], first
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.late.append(time.monotonic() - due)
            calls.append(await self._say())
            due += every
        await asyncio.wait(calls, timeout=5)
        for call in calls:
            call.cancel()

    async def at_once(self, until: float) -> None:
        """The next message when the last one has been answered."""
        while time.monotonic() < until:
            async with asyncio.timeout(PATIENCE):
                await (await self._say())
                await self._answered.wait()


class Speaker:
    """Asks, hears the answer, waits a second, asks again. `silent` is for answers that hold no sound."""

    def __init__(self, visitor: Visitor, question: bytes, *, silent: bool = False) -> None:
        self.visitor, self._question, self._silent = visitor, question, silent
        self.asked = self.answered = self.cut = self.errors = 0
        self.late: list[float] = []
        """Seconds from the sending of the frame that a `vad` event is about to the event's arrival."""
        self.waits: list[float] = []
        """Seconds from the end of a question to the first sound of its answer."""
        self._line = memoryview(b"")
        self._asked_at = 0.0
        self._sent: dict[int, float] = {}
        self._said, self._heard, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        visitor.on = self._event

    def forget(self) -> None:
        """Count from here."""
        self.asked = self.answered = self.cut = self.errors = self.visitor.underruns = self.visitor.pieces = 0
        self.late.clear()
        self.waits.clear()

    async def speak(self, seconds: float, *, offset: float = 0.0, barge_every: int = 0) -> None:
        """For so long. With `barge_every` n, each nth answer is interrupted by the next question."""
        talking = asyncio.create_task(self._talk(offset, barge_every))
        try:
            await self._microphone(time.monotonic() + seconds)
        finally:
            talking.cancel()
            await asyncio.wait({talking})

    async def listen(self, seconds: float) -> None:
        """With the microphone off: hear what is still being said."""
        for _ in range(int(seconds * 10)):
            await asyncio.sleep(0.1)
            if not self.visitor.closed:
                await self.visitor.report()

    async def _microphone(self, until: float) -> None:
        start = due = time.monotonic()
        size, n = 2 * FRAME, 0
        while due < until and not self.visitor.closed:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            piece = bytes(self._line[:size]).ljust(size, b"\0")
            self._sent[self.visitor.mic // FRAME + 1] = time.monotonic()
            self._sent.pop(self.visitor.mic // FRAME - 400, None)
            await self.visitor.hear(piece)
            if self._line:
                self._line = self._line[size:]
                if not self._line:
                    self._asked_at = due + 0.02
                    self._said.set()
            await self.visitor.report()
            n += 1
            due = start + n * 0.02

    async def _talk(self, offset: float, barge_every: int) -> None:
        await asyncio.sleep(offset)
        while True:
            for event in (self._said, self._heard, self._over):
                event.clear()
            self.asked += 1
            self._line = memoryview(self._question)
            await self._said.wait()
            barging = barge_every and self.asked % barge_every == 0
            try:
                async with asyncio.timeout(PATIENCE):
                    await (self._heard if barging else self._over).wait()
            except TimeoutError:
                self.errors += 1
            await asyncio.sleep(0.6 if barging else PAUSE)

    def _event(self, name: str, payload: Any, at: float) -> None:
        match name:
            case "vad" if sent := self._sent.get(-(-payload["mic_t"] // FRAME)):
                self.late.append(at - sent)
            case "audio" if self._asked_at and payload.payload:
                pcm = payload.payload
                sound = 0 if self._silent else first_audible(pcm)
                if sound < len(pcm) // 2:
                    self.waits.append(at + sound / OUTPUT_RATE - self._asked_at)
                    self._asked_at = 0.0
                    self._heard.set()
            case "resp.end":
                self.answered += payload["status"] == "done"
                self.cut += payload["status"] == "cut"
                if payload["status"] != "cut":  # what was cut is not the answer that is waited for
                    self._over.set()
            case "err":
                self.errors += 1
                self._over.set()
