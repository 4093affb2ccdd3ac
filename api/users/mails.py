"""What follows later on members and people: mails, and forgetting who has left."""

from collections.abc import Mapping
from typing import Any, Final

from api._kit.jobs import JobFailed, JobHandler, RunningJob
from api._kit.mail import PAGE, Mail, Mailer, MailRefused, invitation, password_changed
from api._kit.ports import Clock, Vault
from api._kit.store import PLATFORM, Database, Transaction
from api._kit.values import milliseconds
from api.users import store

JOB: Final = "users.mail"
PURGE: Final = "users.purge"


def context(invitation_id: str) -> str:
    """What the token of an invitation is sealed with until it is sent."""
    return f"invitation:{invitation_id}"


def mailing(database: Database, mailer: Mailer, vault: Vault, *, origin: str) -> JobHandler:
    """The handler of mails: `invitation` with the invitation's id and its sealed token, `changed` with the user's id. A
    mail that is sent again has the same link."""

    async def send(job: RunningJob) -> Mapping[str, Any] | None:
        async with database.view(job.tenant) as tx:
            mail = await _mail(tx, job.payload)
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
        token = vault.open(asked["sealed"], context(asked["invitation_id"])).decode()
        link = f"{origin}{PAGE}#invite={token}"
        return invitation(letter["email"], letter["by"], letter["organization"], link)

    return send


def purging(database: Database, clock: Clock) -> JobHandler:
    """The handler that forgets a person; one who has come back stays, and one who left again does for their time."""

    async def forget(job: RunningJob) -> Mapping[str, Any] | None:
        async with database.uow(PLATFORM) as tx:
            gone = await store.purge(tx, job.payload["user_id"], now=milliseconds(clock.now()))
            await tx.commit()
        return {"purged": gone}

    return forget
