"""What follows later on members and people: mails, and forgetting who has left."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from api._kit.jobs import JobFailed, JobHandler, RunningJob
from api._kit.mail import PAGE, Mail, Mailer, MailRefused, invitation, password_changed
from api._kit.store import PLATFORM, Database, Transaction
from api.users import store

JOB: Final = "users.mail"
PURGE: Final = "users.purge"


def mailing(database: Database, mailer: Mailer, *, origin: str) -> JobHandler:
    """The handler of mails: `invitation` with the invitation's id, `changed` with the user's."""

    async def send(job: RunningJob) -> Mapping[str, Any] | None:
        async with database.uow(job.tenant) as tx:
            mail = await _mail(tx, job.payload)
            await tx.commit()
        try:
            if mail is not None:
                await mailer.send(mail, id=job.id)
        except MailRefused as error:
            raise JobFailed(str(error)) from None
        return None

    async def _mail(tx: Transaction, asked: Mapping[str, Any]) -> Mail | None:
        if asked["kind"] == "changed":
            person = await store.profile(tx, asked["user_id"])
            return password_changed(person["email"], person["name"]) if person else None
        letter = await store.letter(tx, asked["invitation_id"])
        if letter is None:
            return None
        token = secrets.token_urlsafe(32)
        await store.arm(tx, asked["invitation_id"], token)
        link = f"{origin}{PAGE}#invite={token}"
        return invitation(letter["email"], letter["by"], letter["organization"], link)

    return send


def purging(database: Database) -> JobHandler:
    """The handler that forgets a person; one who has come back stays."""

    async def forget(job: RunningJob) -> Mapping[str, Any] | None:
        async with database.uow(PLATFORM) as tx:
            gone = await store.purge(tx, job.payload["user_id"])
            await tx.commit()
        return {"purged": gone}

    return forget
