"""Kill the server while messages are under way: whatever was acknowledged is there, and nothing is there twice.

    python -m tests.faults.kill9 [--rounds 10] [--clients 20] [--mutant]

Every round starts the server on the same data, lets each client send messages as fast as it gets acknowledgements (a
window of them at once), kills the process with SIGKILL at a random moment, and reads the database file. After the last
round a server is started once more and every message of the last round that was not acknowledged is sent again under
its old id, one after the other. The exit code is 1 when an acknowledged message is missing, one is kept twice, or one
that was sent again has no answer, whether it had been kept before the crash or not. `--mutant` runs a server that
acknowledges before the commit; then the exit code is 0 only if the check caught it.
"""

import argparse
import asyncio
import contextlib
import random
import sqlite3
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import socketio

from bench.client import TEXT_CAPS, ChatClient, visitor_token
from bench.instant_model import instant_model
from bench.serving import free_port, serving

BOT = "cb_demo"
WINDOW = 8
"""Messages of one client that are under way at once."""
ANSWER_SECONDS = 2.0
HASTY = ("-m", "tests.faults.hasty")


@dataclass(slots=True)
class Talker:
    """One visitor, who comes back after every crash."""

    number: int
    token: str = ""
    conversation: str = ""
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    """What was sent again, after the last crash."""

    async def talk(self, url: str, round_: int, up: asyncio.Event) -> None:
        """Send until the server dies."""
        chat = ChatClient(url, BOT, caps=TEXT_CAPS)
        chat.token = self.token
        self.last = []
        with contextlib.suppress(*GONE):
            async with chat:
                up.set()
                self.conversation = str(chat.ready["conversation_id"])
                await asyncio.gather(*(self._send(chat, round_, lane) for lane in range(WINDOW)))

    async def _send(self, chat: ChatClient, round_: int, lane: int) -> None:
        for n in range(100_000):
            id = f"{self.number}.{round_}.{lane}.{n}"
            self.last.append(id)
            await self.say(chat, id)

    async def say(self, chat: ChatClient, id: str) -> None:
        self.sent[id] = f"message {id}"
        answer = await chat.say(self.sent[id], id)
        self.acknowledged[id] = answer["message_id"]

    async def send_again(self, url: str) -> None:
        """Everything of the last round that was not acknowledged, each when the answer to the one before has come."""
        self.again = [id for id in self.last if id not in self.acknowledged]
        chat = ChatClient(url, BOT, caps=TEXT_CAPS)
        chat.token = self.token
        async with chat:
            for id in self.again:
                since = len(chat.events)
                await self.say(chat, id)
                with contextlib.suppress(TimeoutError):  # there is none when it was answered before the crash
                    await chat.wait("resp.end", since=since, timeout=ANSWER_SECONDS)


GONE = (OSError, TimeoutError, ExceptionGroup, socketio.exceptions.SocketIOError, asyncio.CancelledError)
"""What a client meets when its server is killed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    sent: int
    acknowledged: int
    missing: int
    twice: int
    again: int
    kept_before: int
    """Those sent again that the database had already."""
    unanswered: int
    """Those sent again to which there is no answer."""

    @property
    def good(self) -> bool:
        return self.acknowledged > 0 and not (self.missing or self.twice or self.unanswered)

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, acknowledged {self.acknowledged}, "
            f"acknowledged but missing {self.missing}, kept twice {self.twice}; "
            f"sent again {self.again}, of these kept before {self.kept_before}, without an answer {self.unanswered}"
        )


def rows(database: Path) -> list[tuple[str, int, str, str, str]]:
    """Of every message its conversation, position, role, client's id and content."""
    with contextlib.closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        columns = "conversation_id, position, role, client_id, content"
        return file.execute(f"SELECT {columns} FROM messages").fetchall()


def judge(database: Path, talkers: list[Talker], before: frozenset[str] = frozenset()) -> Verdict:
    """What the database file holds against what the clients know. `before` are the ids that it had already when the
    clients sent them again."""
    kept, last_answer = [], dict[str, int]()
    for conversation, position, role, id, content in rows(database):
        if role == "user":
            kept.append((id, conversation, position, content))
        else:
            last_answer[conversation] = max(position, last_answer.get(conversation, 0))
    ids = {id: position < last_answer.get(conversation, 0) for id, conversation, position, _ in kept}
    again = [id for talker in talkers for id in talker.again]
    return Verdict(
        sum(len(talker.sent) for talker in talkers),
        sum(len(talker.acknowledged) for talker in talkers),
        sum(id not in ids for talker in talkers for id in talker.acknowledged),
        len(kept) - len({content for *_, content in kept}),
        len(again),
        sum(id in before for id in again),
        sum(not ids.get(id) for id in again),
    )


async def crash(data: Path, talkers: list[Talker], round_: int, model: str, program: tuple[str, ...]) -> None:
    """One life of the server, ended by SIGKILL with messages under way."""
    port = free_port()
    url = f"http://localhost:{port}"
    async with serving(data, port, program=program, MA_LLM__BASE_URL=model, MA_LLM__MODEL="instant") as process:
        for talker in talkers:
            talker.token = talker.token or await visitor_token(url, BOT, url)
        ups = [asyncio.Event() for _ in talkers]
        talking = [asyncio.create_task(t.talk(url, round_, up)) for t, up in zip(talkers, ups, strict=True)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(up.wait() for up in ups))
        await asyncio.sleep(random.uniform(0.3, 2.0))
        process.kill()
        await process.wait()
        for task in talking:
            task.cancel()
        await asyncio.wait(talking)


async def main(rounds: int, clients: int, program: tuple[str, ...]) -> Verdict:
    talkers = [Talker(number) for number in range(clients)]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        async with instant_model() as model:
            for round_ in range(rounds):
                await crash(data, talkers, round_, model, program)
                print(f"round {round_ + 1}: {judge(data / 'machineavatars.db', talkers)}", flush=True)
            port = free_port()
            settings = {"MA_LLM__BASE_URL": model, "MA_LLM__MODEL": "instant"}
            before = frozenset(id for *_, role, id, _ in rows(data / "machineavatars.db") if role == "user")
            async with serving(data, port, program=program, **settings):
                await asyncio.gather(*(talker.send_again(f"http://localhost:{port}") for talker in talkers))
        verdict = judge(data / "machineavatars.db", talkers, before)
    print(verdict)
    return verdict


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--mutant", action="store_true", help="a server that acknowledges too early; it must be caught")
    chosen = parser.parse_args()
    found = asyncio.run(main(chosen.rounds, chosen.clients, HASTY if chosen.mutant else ("-m", "server")))
    if chosen.mutant:
        print("caught" if not found.good else "NOT CAUGHT")
    sys.exit(0 if found.good != chosen.mutant else 1)
