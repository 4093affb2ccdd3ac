"""The mails of signing in: jobs that make a token, keep its digest and send it."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from api._kit.jobs import JobFailed, JobHandler, RunningJob
from api._kit.mail import PAGE, Mail, Mailer, MailRefused, password_changed, password_reset, post, verification
from api._kit.ports import Account, Accounts, Clock
from api._kit.store import PLATFORM, Database, Transaction
from api._kit.values import milliseconds
from api.auth import store

JOB: Final = "auth.mail"
LIFETIME_MS: Final[Mapping[store.Purpose, int]] = {"verify": 24 * 3_600_000, "reset": 30 * 60_000}


async def ask(tx: Transaction, kind: str, account: Account | None) -> None:
    """Enqueue a mail: `verify`, `reset` or `changed`. For nobody it is enqueued too, so that it looks the same."""
    who = {"user_id": account.user_id, "organization_id": account.organization_id} if account else {}
    await post(tx, JOB, {"kind": kind, **who})


def mailing(database: Database, accounts: Accounts, mailer: Mailer, *, clock: Clock, origin: str) -> JobHandler:
    """The handler of these jobs. `origin` is the public URL without a trailing slash."""

    async def send(job: RunningJob) -> Mapping[str, Any] | None:
        asked = job.payload
        account = await accounts.by_id(asked["user_id"], asked["organization_id"]) if "user_id" in asked else None
        if account is None or not account.active:
            return None
        try:
            await mailer.send(await _mail(account, asked["kind"]), id=job.id)
        except MailRefused as error:
            raise JobFailed(str(error)) from None
        return None

    async def _mail(account: Account, kind: str) -> Mail:
        match kind:
            case "verify":
                return verification(account.email, account.name, await _link(account, "verify"))
            case "reset":
                return password_reset(account.email, account.name, await _link(account, "reset"))
            case _:
                return password_changed(account.email, account.name)

    async def _link(account: Account, purpose: store.Purpose) -> str:
        token, now = secrets.token_urlsafe(32), milliseconds(clock.now())
        async with database.uow(PLATFORM) as tx:
            expires_at = now + LIFETIME_MS[purpose]
            await store.keep_token(tx, token, account.user_id, purpose, now=now, expires_at=expires_at)
            await tx.commit()
        return f"{origin}{PAGE}#{purpose}={token}"

    return send
