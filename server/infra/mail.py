"""Mails to a mail server by SMTP. Where none is set, a developer's own machine writes them to the log, so that their
links can be followed; anywhere else they are not sent, for whoever reads the log could open accounts.

What may fail: the server is gone or says "later" (4xx): the job that sends is tried again. It says "never" (5xx) about
this mail or its recipient: MailRefused. It refuses our password: tried again, since the settings are to be mended.
"""

from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPRecipientsRefused

from api._kit.mail import Mail, Mailer, MailRefused
from pipelines.ports import Clock
from server.settings import Settings, SmtpSettings

SECONDS: Final = 20.0
NEVER: Final = 500

log = structlog.get_logger()


class ConsoleMailer:
    """Writes mails to the log, links and all: for development."""

    async def send(self, mail: Mail, *, id: str) -> None:
        log.info("mail (no MA_SMTP__HOST is set)", mail_to=mail.to, subject=mail.subject, link=mail.link)


class NoMailer:
    """Sends nothing, and says what is missing."""

    async def send(self, mail: Mail, *, id: str) -> None:
        log.warning("mail not sent: MA_SMTP__HOST is not set", subject=mail.subject)
        raise MailRefused("no mail server is set (MA_SMTP__HOST)")


class SmtpMailer:
    """One connection a mail."""

    def __init__(self, settings: SmtpSettings, *, domain: str, clock: Clock) -> None:
        self._settings, self._domain, self._clock = settings, domain, clock

    async def send(self, mail: Mail, *, id: str) -> None:
        settings = self._settings
        try:
            message = self._message(mail, id)
        except ValueError as error:
            raise MailRefused(f"no mail can be made of this: {error}") from None
        client = SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username or None,
            password=settings.password.get_secret_value() or None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            timeout=SECONDS,
        )
        try:
            async with client:
                await client.send_message(message)
        except (SMTPRecipientsRefused, SMTPDataError) as error:
            codes = [r.code for r in error.recipients] if isinstance(error, SMTPRecipientsRefused) else [error.code]
            if min(codes) >= NEVER:
                raise MailRefused(f"the mail server answered {min(codes)}") from None
            raise OSError(f"the mail server answered {min(codes)}") from None
        except SMTPException as error:
            raise OSError(f"the mail server: {type(error).__name__}") from None

    def _message(self, mail: Mail, id: str) -> EmailMessage:
        """Headers cannot be injected: `EmailMessage` refuses line ends in them."""
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = Address(addr_spec=mail.to)
        message["Subject"] = " ".join(mail.subject.split())
        message["Date"] = formatdate(self._clock.now())
        message["Message-ID"] = f"<{id}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.plain)
        message.add_alternative(mail.html, subtype="html")
        return message


def at_home(database: str, origin: str) -> bool:
    """Whether the server is on its developer's own machine: one file for a database, and reached from there alone."""
    return database.startswith("sqlite") and urlsplit(origin).hostname in ("localhost", "127.0.0.1", "::1")


def mailer(settings: Settings, *, clock: Clock) -> Mailer:
    if settings.smtp.host:
        return SmtpMailer(settings.smtp, domain=urlsplit(settings.origin).hostname or "localhost", clock=clock)
    return ConsoleMailer() if at_home(settings.database, settings.origin) else NoMailer()
