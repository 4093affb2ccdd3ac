"""Mails to people: what they say, in one place, and how they leave.

A mail is a job: it is enqueued with the change that it tells of, and its handler makes the link that it carries. So no
link is sent for a change that was not kept, and none is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Protocol

from api._kit.store import Transaction

ATTEMPTS: Final = 20
"""How often a mail is tried while the mail server is gone: for some two hours."""
PAGE: Final = "/account/"
"""Where links lead. What a link carries stands behind the `#`, which browsers do not send and servers do not log."""


@dataclass(frozen=True, slots=True)
class Mail:
    """`link` stands below the text, as a button where mails are shown as HTML."""

    to: str
    subject: str
    text: str
    link: str = ""
    label: str = ""

    @property
    def plain(self) -> str:
        return f"{self.text}\n\n{self.link}\n" if self.link else f"{self.text}\n"

    @property
    def html(self) -> str:
        said = "".join(f"<p>{escape(part)}</p>" for part in self.text.split("\n\n"))
        target = escape(self.link, quote=True)
        button = f'<p><a href="{target}">{escape(self.label)}</a></p><p>{target}</p>' if self.link else ""
        return f'<!doctype html><html lang="en"><meta charset="utf-8"><body>{said}{button}</body></html>'


class Mailer(Protocol):
    """The way to a mail server."""

    async def send(self, mail: Mail, *, id: str) -> None:
        """`id` is the same when the mail is sent again. Raises MailRefused, OSError and TimeoutError."""
        ...


class MailRefused(Exception):
    """The mail server will not take this mail, now or later."""


async def post(tx: Transaction, type: str, payload: Mapping[str, Any]) -> None:
    """A mail that leaves once the transaction has been committed; `type` is the job that writes it."""
    await tx.enqueue(type, payload, max_attempts=ATTEMPTS)


def verification(to: str, name: str, link: str) -> Mail:
    text = (
        f"Hello {name},\n\nplease confirm that this is your e-mail address. The link works once, for 24 hours.\n\n"
        "If you have not made an account, there is nothing to do."
    )
    return Mail(to, "Confirm your e-mail address", text, link, "Confirm my address")


def password_reset(to: str, name: str, link: str) -> Mail:
    text = (
        f"Hello {name},\n\nwith this link you can choose a new password. It works once, for 30 minutes.\n\n"
        "If you have not asked for it, there is nothing to do: your password stays as it is."
    )
    return Mail(to, "Choose a new password", text, link, "Choose a new password")


def password_changed(to: str, name: str) -> Mail:
    text = (
        f"Hello {name},\n\nyour password was changed, and everyone who was signed in has been signed out.\n\n"
        "If that was not you, ask for a new password at once."
    )
    return Mail(to, "Your password was changed", text)


def invitation(to: str, by: str, organization: str, link: str) -> Mail:
    text = f"Hello,\n\n{by} invites you to join {organization}. The link works once, for 7 days."
    return Mail(to, f"{by} invites you to join {organization}", text, link, "Join")
