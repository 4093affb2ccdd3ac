"""Mails over a real connection to a real mail server on this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from sqlalchemy import select

from api._kit.events import Announcer
from api._kit.mail import Mail, MailRefused, invitation, verification
from api._kit.store import PLATFORM, jobs
from server.infra import db
from server.infra.clock import Dice, Ids, SystemClock
from server.infra.jobs import Jobs
from server.infra.mail import ConsoleMailer, NoMailer, SmtpMailer, mailer
from server.settings import Settings, SmtpSettings

MAIL = verification("ada@example.com", "Ada", "https://chat.example/account/#verify=abc")


@dataclass
class Letterbox:
    """Takes mails, or answers each recipient with `answers` first."""

    answers: list[str] = field(default_factory=list)
    taken: list[EmailMessage] = field(default_factory=list)

    async def handle_RCPT(self, _: Any, __: Any, envelope: Envelope, address: str, ___: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append(message_from_bytes(content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"


@asynccontextmanager
async def serving(box: Letterbox, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """A mail server's port."""
    loop = asyncio.get_running_loop()
    talks: list[SMTP] = []

    def answer() -> SMTP:
        talks.append(SMTP(box, loop=loop, **options))
        return talks[-1]

    server = await loop.create_server(answer, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        tasks = {talk._handler_coroutine for talk in talks if talk._handler_coroutine}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def sender(port: int, **more: Any) -> SmtpMailer:
    settings = SmtpSettings(host="127.0.0.1", port=port, security="none", sender="Chat <chat@example.com>", **more)
    return SmtpMailer(settings, domain="chat.example", clock=SystemClock())


async def test_a_mail_arrives_as_text_and_as_html() -> None:
    box = Letterbox()
    async with serving(box) as port:
        await sender(port).send(MAIL, id="job_1")
    (mail,) = box.taken
    assert (mail["From"], mail["To"], mail["Message-ID"]) == (
        "Chat <chat@example.com>",
        "ada@example.com",
        "<job_1@chat.example>",
    )
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert MAIL.link in text.get_content()
    assert html is not None
    assert f'href="{MAIL.link}"' in html.get_content()


async def test_names_are_neither_markup_nor_headers() -> None:
    box = Letterbox()
    async with serving(box) as port:
        name = "<b>Eve</b>\r\nBcc: everyone@example.com"
        await sender(port).send(invitation("ada@example.com", name, "Acme & Sons", "https://x"), id="job_1")
    (mail,) = box.taken
    assert mail["Bcc"] is None
    html = mail.get_body(("html",))
    assert html is not None
    assert "<b>" not in html.get_content()
    assert "Acme &amp; Sons" in html.get_content()


async def test_a_server_that_wants_a_password_gets_it() -> None:
    def check(_: Any, __: Any, ___: Any, ____: Any, data: LoginPassword) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"chat", b"secret"), handled=False)

    box, options = Letterbox(), {"authenticator": check, "auth_required": True, "auth_require_tls": False}
    async with serving(box, **options) as port:
        await sender(port, username="chat", password="secret").send(MAIL, id="job_1")
        with pytest.raises(OSError, match="SMTPAuthenticationError"):
            await sender(port, username="chat", password="wrong").send(MAIL, id="job_1")
    assert len(box.taken) == 1


async def test_a_server_without_encryption_gets_nothing_when_it_is_asked_for() -> None:
    box = Letterbox()
    async with serving(box) as port:
        settings = SmtpSettings(host="127.0.0.1", port=port, security="starttls", username="chat")
        with pytest.raises(OSError, match="mail server"):
            await SmtpMailer(settings, domain="chat.example", clock=SystemClock()).send(MAIL, id="job_1")
    assert box.taken == []


@pytest.mark.parametrize(("answer", "error"), [("550 no such user", MailRefused), ("451 later", OSError)])
async def test_never_is_told_from_later(answer: str, error: type[Exception]) -> None:
    async with serving(Letterbox([answer])) as port:
        with pytest.raises(error):
            await sender(port).send(MAIL, id="job_1")


async def test_an_address_that_is_none_is_refused_before_it_is_sent() -> None:
    with pytest.raises(MailRefused):
        await sender(1).send(Mail("no address", "Hello", "Hello"), id="job_1")


async def test_a_server_that_is_not_there_is_an_error_of_the_connection() -> None:
    async with serving(Letterbox()) as port:
        pass
    with pytest.raises(OSError, match=r"mail server"):
        await sender(port).send(MAIL, id="job_1")


@pytest.mark.parametrize(
    ("database", "origin", "kind"),
    [
        ("sqlite+aiosqlite:///a.db", "http://localhost:8000", ConsoleMailer),
        ("sqlite+aiosqlite:///a.db", "https://chat.example", NoMailer),
        ("postgresql+asyncpg://db/chat", "http://localhost:8000", NoMailer),
    ],
)
def test_links_go_to_the_log_on_a_developers_own_machine_alone(database: str, origin: str, kind: type) -> None:
    settings = Settings(database_url=database, public_url=origin, smtp=SmtpSettings())
    assert isinstance(mailer(settings, clock=SystemClock()), kind)


async def test_what_cannot_be_sent_is_told_without_its_link(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MailRefused, match="MA_SMTP__HOST"):
        await NoMailer().send(MAIL, id="job_1")
    said = capsys.readouterr()
    assert "abc" not in said.out + said.err


async def test_a_mail_is_sent_when_its_change_is_kept_and_again_until_the_server_is_back(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'mail.db'}"
    await db.migrate(url)
    announcer, clock, ids, box = Announcer(), SystemClock(), Ids(), Letterbox(["451 later"])
    database = db.connect(url, announce=announcer.announce, clock=clock, ids=ids)
    runner = Jobs(database, announcer, clock=clock, ids=ids, dice=Dice(seed=1))

    async def states() -> list[tuple[str, int]]:
        async with database.view(PLATFORM) as tx:
            rows = await tx.all(select(jobs).where(jobs.c.type == "mail"))
        return [(row["status"], row["attempts"]) for row in rows]

    done = asyncio.Event()

    async with serving(box) as port:

        async def send(job: Any) -> None:
            await sender(port).send(MAIL, id=job.id)
            done.set()

        runner.handle("mail", send)
        async with runner:
            async with database.uow(PLATFORM) as tx:
                await tx.enqueue("mail", {})
            async with database.uow(PLATFORM) as tx:
                await tx.enqueue("mail", {})
                await tx.commit()
            async with asyncio.timeout(20):
                await done.wait()
    assert await states() == [("succeeded", 2)]
    await database.close()
    assert len(box.taken) == 1
