"""Changing and publishing drafts: for the chatbot service, and for those that build chatbots step by step."""

from collections.abc import Mapping
from typing import Any, Final

from api._kit.checklist import Draft, Installed, broken
from api._kit.choices import DEFAULT_AVATAR, Choices
from api._kit.errors import Conflict, DuplicateResource, InvalidFormat, NotFound, Problem
from api._kit.ports import Release
from api._kit.store import Row, Transaction
from api._kit.values import milliseconds
from api.chatbots import store
from pipelines.ports import Clock

_NULLABLE: Final = frozenset({"purpose", "voice_id", "avatar_id"})


class Drafts:
    """Chatbots as their owners edit them."""

    def __init__(self, choices: Choices, clock: Clock) -> None:
        self._choices, self._clock = choices, clock

    @property
    def installed(self) -> Installed:
        return Installed(self._choices.avatars, self._choices.voice_ids)

    async def find(self, tx: Transaction, chatbot_id: str) -> Draft | None:
        """The organisation's own chatbot with this id, unless it is in the trash."""
        row = await store.find(tx, chatbot_id)
        return None if row is None else await self._draft(tx, row)

    async def change(self, tx: Transaction, chatbot_id: str, values: Mapping[str, Any]) -> None:
        """Put these values into the draft; `settings` are those that change. Raises NotFound, DuplicateResource,
        InvalidFormat."""
        check_choices(self._choices, values.get("avatar_id"), values.get("voice_id"))
        row = await self._locked(tx, chatbot_id)
        given = {n: v for n, v in values.items() if n != "allowed_origins" and (v is not None or n in _NULLABLE)}
        if "name" in given and await store.name_taken(tx, given["name"], besides=chatbot_id):
            raise DuplicateResource("There is already a chatbot with this name.")
        if given.get("avatar_id", "") is None and row["type"] == "3d":
            given["avatar_id"] = DEFAULT_AVATAR
        if settings := given.get("settings"):
            given["settings"] = {**row["settings"], **settings}
            if settings.get("prompt") is not None:
                given["parts"] = {name: part for name, part in row["parts"].items() if name != "prompt"}
        if values.get("allowed_origins") is not None:
            await store.set_origins(tx, chatbot_id, values["allowed_origins"])
        await store.change(tx, chatbot_id, {**given, "updated_at": milliseconds(self._clock.now())})
        tx.record("chatbot.updated", {"chatbot_id": chatbot_id, "changed": sorted(values)})

    async def publish(
        self,
        tx: Transaction,
        chatbot_id: str,
        *,
        version: int | None = None,
        note: str | None = None,
        author: str | None = None,
    ) -> Release:
        """Show the draft to visitors, or go back to a `version`. What is shown already is not kept a second time. A
        chatbot that pauses goes on pausing.

        Raises NotFound, and Conflict with the steps that are missing or while the chatbot is under maintenance.
        """
        now = milliseconds(self._clock.now())
        row = await self._locked(tx, chatbot_id)
        if row["status"] == "maintenance":
            raise Conflict("The chatbot is under maintenance.", details="status is maintenance")
        before = await store.snapshot(tx, chatbot_id, row["published_version"] or 0)
        older = await store.snapshot(tx, chatbot_id, version) if version is not None else None
        if version is not None and older is None:
            raise NotFound(f"There is no version {version}.")
        shown = {**row, **older["snapshot"]} if older else row
        if steps := broken(await self._draft(tx, shown), self.installed):
            listed = ", ".join(steps)
            raise Conflict(
                f"Before it can be published, the chatbot needs: {listed}.",
                details=f"missing steps: {listed}",
                extra={"missing": steps},
            )
        seen = {name: shown.get(name) for name in store.SNAPSHOT}
        changed = store.changed(before["snapshot"] if before else {}, seen)
        if version is None and before is not None and not changed:
            version = row["published_version"]
        elif version is None:
            version, _ = await store.keep_snapshot(tx, row, note=note, author=author, now=now)
        status = "active" if row["status"] == "draft" else row["status"]
        await store.change(tx, chatbot_id, {"published_version": version, "status": status, "updated_at": now})
        tx.record("chatbot.published", {"chatbot_id": chatbot_id, "version": version})
        return Release(version, now, tuple(changed))

    async def _draft(self, tx: Transaction, row: Row) -> Draft:
        origins = (await store.origins_of(tx, [row["id"]]))[row["id"]]
        names = ("name", "type", "status", "language", "purpose", "avatar_id", "voice_id", "settings", "parts")
        fields = {name: row[name] for name in (*names, "published_version", "updated_at")}
        return Draft(id=row["id"], allowed_origins=tuple(origins), **fields)

    async def _locked(self, tx: Transaction, chatbot_id: str) -> Row:
        """The row, which nobody else changes until the transaction ends. Raises NotFound."""
        await store.lock(tx, chatbot_id)
        row = await store.find(tx, chatbot_id)
        if row is None:
            raise NotFound
        return row


def check_choices(choices: Choices, avatar_id: str | None, voice_id: str | None) -> None:
    """Raises InvalidFormat for an avatar or a voice that this server does not have."""
    for field, value, known in (
        ("avatar_id", avatar_id, choices.avatars),
        ("voice_id", voice_id, choices.voice_ids),
    ):
        if value is not None and value not in known:
            text = f"{field} is not installed here; there are: {', '.join(sorted(known)) or 'none'}."
            raise InvalidFormat(text, fields=[Problem(field, "INVALID_FORMAT", text)])
