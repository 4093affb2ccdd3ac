"""Chatbots: a draft that is edited, numbered snapshots that visitors see, and the websites that may show them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
    text,
)

from api._kit.choices import Choices
from api._kit.errors import NotFound
from api._kit.store import PLATFORM, Database, Row, Transaction, metadata
from api._kit.values import milliseconds
from api.chatbots.models import ChatbotQuery, VersionQuery
from pipelines.ports import Bot, Clock, ModelChoice, Salute
from pipelines.providers.base import ChatMessage

_LIVE: Final = text("status <> 'trashed'")

chatbots = Table(
    "chatbots",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False, index=True),
    Column("name", String(120), nullable=False),
    Column("type", String(10), nullable=False),
    Column("avatar_id", String(128)),
    Column("voice_id", String(128)),
    Column("language", String(35), nullable=False),
    Column("languages", JSON, nullable=False),
    Column("purpose", Text),
    Column("status", String(20), nullable=False),
    Column("identity_mode", String(10), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("parts", JSON, nullable=False, server_default="{}"),
    Column("template_id", String(64)),
    Column("published_version", Integer),
    Column("created_by", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("trashed_at", BigInteger),
    Index(
        "uq_chatbots_organization_id_name",
        "organization_id",
        "name",
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    ),
)
versions = Table(
    "chatbot_versions",
    metadata,
    Column("chatbot_id", String(64), ForeignKey("chatbots.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("snapshot", JSON, nullable=False),
    Column("changed", JSON, nullable=False, server_default="[]"),
    Column("note", Text),
    Column("author", String(64)),
    Column("created_at", BigInteger, nullable=False),
)
origins = Table(
    "chatbot_origins",
    metadata,
    Column("chatbot_id", String(64), ForeignKey("chatbots.id", ondelete="CASCADE"), primary_key=True),
    Column("origin", String(255), primary_key=True, index=True),
    Column("organization_id", String(64), nullable=False),
    Column("position", Integer, nullable=False),
)
_SAID: Final[tuple[tuple[Literal["user", "assistant"], str], ...]] = (("user", "question"), ("assistant", "answer"))
SNAPSHOT: Final = ("name", "type", "avatar_id", "voice_id", "language", "languages", "purpose", "settings", "parts")
"""What visitors see only after it has been published."""


async def find(tx: Transaction, chatbot_id: str) -> Row | None:
    """A chatbot of the transaction's organisation that is not in the trash."""
    return await tx.one(tx.select(chatbots).where(chatbots.c.id == chatbot_id, chatbots.c.status != "trashed"))


async def create(tx: Transaction, row: Mapping[str, Any]) -> bool:
    """False when the organisation has a chatbot of this name."""
    return await tx.try_insert(tx.insert(chatbots, **row))


async def change(tx: Transaction, chatbot_id: str, values: Mapping[str, Any]) -> None:
    await tx.run(tx.update(chatbots).where(chatbots.c.id == chatbot_id).values(**values))


async def name_taken(tx: Transaction, name: str, *, besides: str) -> bool:
    same = tx.select(chatbots, chatbots.c.id).where(
        chatbots.c.name == name, chatbots.c.status != "trashed", chatbots.c.id != besides
    )
    return await tx.one(same) is not None


async def page(tx: Transaction, query: ChatbotQuery) -> tuple[list[Row], int]:
    statement = tx.select(chatbots)
    if query.status is None:
        statement = statement.where(chatbots.c.status != "trashed")
    for column, wanted in (
        (chatbots.c.type, query.type),
        (chatbots.c.status, query.status),
        (chatbots.c.language, query.language),
    ):
        if wanted is not None:
            statement = statement.where(column.in_(wanted))
    return await tx.page(statement, query, table=chatbots, search=(chatbots.c.name, chatbots.c.purpose))


async def origins_of(tx: Transaction, chatbot_ids: Iterable[str]) -> dict[str, list[str]]:
    """Each chatbot's allowed websites, in the order they were given."""
    found: dict[str, list[str]] = {chatbot_id: [] for chatbot_id in chatbot_ids}
    rows = await tx.all(
        select(origins.c.chatbot_id, origins.c.origin)
        .where(origins.c.chatbot_id.in_(found))
        .order_by(origins.c.chatbot_id, origins.c.position)
    )
    for row in rows:
        found[row["chatbot_id"]].append(row["origin"])
    return found


async def set_origins(tx: Transaction, chatbot_id: str, wanted: Sequence[str]) -> None:
    await tx.run(tx.delete(origins).where(origins.c.chatbot_id == chatbot_id))
    for position, origin in enumerate(dict.fromkeys(wanted)):
        await tx.run(tx.insert(origins, chatbot_id=chatbot_id, origin=origin, position=position))


async def snapshot(tx: Transaction, chatbot_id: str, version: int) -> Row | None:
    return await tx.one(tx.select(versions).where(versions.c.chatbot_id == chatbot_id, versions.c.version == version))


async def keep_snapshot(
    tx: Transaction, row: Row, *, note: str | None, author: str | None, now: int
) -> tuple[int, dict[str, Any]]:
    """Keep what the draft's row holds as the next version."""
    await lock(tx, row["id"])
    newest = await tx.one(
        tx.select(versions).where(versions.c.chatbot_id == row["id"]).order_by(versions.c.version.desc()).limit(1)
    )
    version = newest["version"] + 1 if newest else 1
    kept = {name: row[name] for name in SNAPSHOT}
    await tx.run(
        tx.insert(
            versions,
            chatbot_id=row["id"],
            version=version,
            snapshot=kept,
            changed=changed(newest["snapshot"] if newest else {}, kept),
            note=note,
            author=author,
            created_at=now,
        )
    )
    return version, kept


async def page_of_versions(tx: Transaction, query: VersionQuery, chatbot_id: str) -> tuple[list[Row], int]:
    kept = versions.c
    columns = (kept.version, kept.author, kept.note, kept.created_at, kept.changed)
    statement = tx.select(versions, *columns).where(kept.chatbot_id == chatbot_id)
    return await tx.page(statement, query, table=versions, search=(kept.note,), tie=kept.version)


async def count(tx: Transaction) -> int:
    """How many chatbots the organisation has."""
    return int(await tx.scalar(tx.select(chatbots, func.count()).where(chatbots.c.status != "trashed")) or 0)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of what differs between two snapshots: fields, `settings.` and a setting's name, names of parts."""
    old, new = _flat(before), _flat(after)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _flat(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in snapshot.items() if name not in ("settings", "parts")}
    settings = {f"settings.{name}": value for name, value in (snapshot.get("settings") or {}).items()}
    return {**fields, **settings, **(snapshot.get("parts") or {})}


_FOUND: Final = select(chatbots).where(chatbots.c.id == bindparam("chatbot"), chatbots.c.status != "trashed")
_PUBLISHED: Final = (
    select(versions.c.snapshot)
    .join(chatbots, chatbots.c.id == versions.c.chatbot_id)
    .where(chatbots.c.id == bindparam("chatbot"), versions.c.version == chatbots.c.published_version)
)


async def published(tx: Transaction, chatbot_id: str) -> Mapping[str, Any] | None:
    """What visitors see: the snapshot of the published version."""
    kept = await tx.one(_PUBLISHED, chatbot=chatbot_id)
    return kept["snapshot"] if kept else None


def default_prompt(name: str, purpose: str | None) -> str:
    """What a chatbot is told when its owner has written nothing: who it is and how to answer on a website."""
    goal = f" Your job: {purpose.strip().rstrip('.')}." if purpose and purpose.strip() else ""
    return (
        f"You are {name}, the friendly assistant on this website.{goal} Answer the visitor's question directly, "
        "in one or two short sentences. If you do not know something, say so and offer to help with something else."
    )


class Bots:
    """Chatbots, as talking to them needs them."""

    def __init__(self, database: Database, choices: Choices) -> None:
        self._database, self._choices = database, choices

    async def find(self, chatbot_id: str, *, draft: bool = False) -> Bot | None:
        async with self._database.view(PLATFORM) as tx:
            row = await tx.one(_FOUND, chatbot=chatbot_id)
            if row is None:
                return None
            allowed = (await origins_of(tx, [chatbot_id]))[chatbot_id]
            shown: Mapping[str, Any] = row
            if not draft:
                shown = {**row, **(await published(tx, chatbot_id) or {})}
        settings, parts = shown["settings"], shown.get("parts") or {}
        prompt = parts.get("prompt", {}).get("content") or settings.get("prompt")
        return Bot(
            id=row["id"],
            organization_id=row["organization_id"],
            name=shown["name"],
            type=shown["type"],
            language=shown["language"],
            prompt=prompt or default_prompt(shown["name"], shown["purpose"]),
            greeting=settings.get("greeting") or "",
            salutes=tuple(
                Salute(one["text"], one.get("locale") or "", tuple(one.get("utm", {}).items()), one.get("returning"))
                for one in settings.get("greetings", ())
            ),
            idle_minutes=settings.get("idle_minutes", 30),
            avatar_id=shown["avatar_id"],
            voice_id=self._choices.voice_for(shown["language"], shown["avatar_id"], wanted=shown["voice_id"]),
            status=row["status"],
            allowed_origins=tuple(allowed),
            identity_mode=row["identity_mode"],
            examples=tuple(
                ChatMessage(role, example[key]) for example in settings.get("examples", ()) for role, key in _SAID
            ),
            model=_model(parts.get("model")),
            variables=parts.get("prompt", {}).get("variables", {}),
        )

    async def count(self, organization_id: str) -> int:
        async with self._database.view(organization_id) as tx:
            return await count(tx)

    async def origin_known(self, origin: str) -> bool:
        async with self._database.view(PLATFORM) as tx:
            return await tx.one(select(origins.c.origin).where(origins.c.origin == origin).limit(1)) is not None


class BotParts:
    """The parts that other services make, in the draft and, where they are to count at once, in what visitors see."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def get(self, tx: Transaction, chatbot_id: str, name: str) -> Mapping[str, Any] | None:
        """The draft's part. Raises NotFound."""
        part: Mapping[str, Any] | None = (await _existing(tx, chatbot_id))["parts"].get(name)
        return part

    async def set(
        self,
        tx: Transaction,
        chatbot_id: str,
        name: str,
        value: Mapping[str, Any] | None,
        *,
        live: bool = False,
        author: str | None = None,
        note: str | None = None,
    ) -> int | None:
        """Put the part into the draft and, with `live`, into a new version of what is published. Raises NotFound."""
        now = milliseconds(self._clock.now())
        await lock(tx, chatbot_id)
        row = await _existing(tx, chatbot_id)
        values: dict[str, Any] = {"parts": _with(row["parts"], name, value), "updated_at": now}
        shown = await snapshot(tx, chatbot_id, row["published_version"] or 0) if live else None
        if shown is not None:
            seen = shown["snapshot"]
            seen = {**row, **seen, "parts": _with(seen.get("parts", {}), name, value)}
            values["published_version"], _ = await keep_snapshot(tx, seen, note=note, author=author, now=now)
        await change(tx, chatbot_id, values)
        return values.get("published_version")

    async def everywhere(self, tx: Transaction, name: str) -> list[tuple[str, Mapping[str, Any]]]:
        """That part of the organisation's chatbots: what their drafts have and visitors see."""
        seen = (versions.c.chatbot_id == chatbots.c.id) & (versions.c.version == chatbots.c.published_version)
        rows = await tx.all(
            tx.select(chatbots, chatbots.c.id, chatbots.c.parts, versions.c.snapshot)
            .join(versions, seen, isouter=True)
            .where(chatbots.c.status != "trashed")
        )
        found = [(row["id"], parts.get(name)) for row in rows for parts in (row["parts"], _parts(row["snapshot"]))]
        return [(chatbot_id, part) for chatbot_id, part in found if part]


def _parts(snapshot: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (snapshot or {}).get("parts") or {}


async def lock(tx: Transaction, chatbot_id: str) -> None:
    """Keep others from changing the chatbot until the transaction ends."""
    await tx.run(tx.update(chatbots).where(chatbots.c.id == chatbot_id).values(updated_at=chatbots.c.updated_at))


async def _existing(tx: Transaction, chatbot_id: str) -> Row:
    row = await find(tx, chatbot_id)
    if row is None:
        raise NotFound("There is no such chatbot.")
    return row


def _with(parts: Mapping[str, Any], name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    others = {other: part for other, part in parts.items() if other != name}
    return others if value is None else {**others, name: dict(value)}


def _model(part: Mapping[str, Any] | None) -> ModelChoice | None:
    if not part:
        return None
    params = tuple(sorted(part.get("params", {}).items()))
    return ModelChoice(part["model_id"], tuple(part.get("fallbacks", ())), params)
