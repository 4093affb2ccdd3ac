"""Chatbot creation: drafts, publishing, and what a website needs to show a chatbot."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api._kit.choices import DEFAULT_AVATAR
from api._kit.endpoint import Ctx, Deps, Reply, Service
from api._kit.errors import (
    ChatbotUnavailable,
    DuplicateResource,
    InvalidFormat,
    NotFound,
    OriginNotAllowed,
    Problem,
    QuotaExceeded,
)
from api._kit.http import etag_of
from api._kit.origins import admits
from api._kit.paging import Page, pagination
from api._kit.store import PLATFORM, Row, Transaction
from api._kit.templates import PURPOSES, TEMPLATES
from api.chatbots import embedding, store
from api.chatbots.drafts import check_choices
from api.chatbots.models import (
    AvatarRef,
    BootConfig,
    Chatbot,
    ChatbotPatch,
    ChatbotQuery,
    Consent,
    Copy,
    Deleted,
    Embed,
    EmbedQuery,
    Features,
    NewChatbot,
    Publication,
    Published,
    Settings,
    Version,
    VersionQuery,
    VoiceRef,
)

chatbots = Service("chatbots", 8003, "Create Chatbot", "chatbot creation")

TRASH_DAYS: Final = 7
COPIES: Final = 99
_DAY_MS: Final = 86_400_000
_EXAMPLES: Final = {
    "request": {"name": "Support Bot", "type": "3d", "avatar_id": "avatar_female_01", "language": "en-US"}
}


@chatbots.post("", name="create_in_list", who="E,K", body=NewChatbot, returns=Chatbot, status=201, errors=(409,))
@chatbots.post("/create", who="E,K", body=NewChatbot, returns=Chatbot, status=201, errors=(409,), examples=_EXAMPLES)
async def create(ctx: Ctx, body: NewChatbot) -> Chatbot:
    """Make a chatbot, as a draft."""
    deps, now = ctx.deps, ctx.deps.now()
    check_choices(deps.choices, body.avatar_id, body.voice_id)
    template = TEMPLATES.get(body.template_id or "")
    if body.template_id is not None and template is None:
        text = f"There is no such template; there are: {', '.join(TEMPLATES)}."
        raise InvalidFormat(text, fields=[Problem("template_id", "INVALID_FORMAT", text)])
    avatar = body.avatar_id or (DEFAULT_AVATAR if body.type == "3d" else None)
    speaking = body.type != "text" and deps.choices.voices.known(body.language)
    row: Row = {
        "id": deps.ids.new("cb"),
        "name": body.name,
        "type": body.type,
        "avatar_id": avatar,
        "voice_id": body.voice_id or (deps.choices.voice_for(body.language, avatar) if speaking else None),
        "language": body.language,
        "languages": [body.language],
        "purpose": body.purpose or (PURPOSES[template.purpose] if template else None),
        "status": "draft",
        "identity_mode": "off",
        "settings": template.settings(body.name) if template else {},
        "parts": {},
        "template_id": template.id if template else None,
        "published_version": None,
        "created_by": ctx.caller.user_id,
        "created_at": now,
        "updated_at": now,
    }
    async with deps.database.uow(ctx.tenant) as tx:
        await _room(ctx, tx)
        await _keep(tx, row)
        await tx.commit()
    return _chatbot(deps, row, [])


async def _room(ctx: Ctx, tx: Transaction) -> None:
    """Raises QuotaExceeded when the plan has no room for another chatbot."""
    plan = await ctx.deps.plans.of(ctx.tenant)
    await tx.alone()
    used = await store.count(tx)
    if plan.chatbots is not None and used >= plan.chatbots:
        raise QuotaExceeded(
            f"Your plan has room for {plan.chatbots} chatbots.",
            limit=plan.chatbots,
            used=used,
            upgrade_url=f"{ctx.deps.origin}/api/v1/payment/plans",
        )


async def _keep(tx: Transaction, row: Row) -> None:
    """Raises DuplicateResource."""
    new = {name: value for name, value in row.items() if name != "organization_id"}
    if not await store.create(tx, new):
        raise DuplicateResource("There is already a chatbot with this name.")
    tx.record("chatbot.created", {"chatbot_id": row["id"], "name": row["name"], "type": row["type"]})


async def _free_name(tx: Transaction, name: str) -> str:
    """`name (copy)`, or with a number when that is taken too."""
    for number in range(1, COPIES + 1):
        suffix = " (copy)" if number == 1 else f" (copy {number})"
        copy = f"{name[: 120 - len(suffix)]}{suffix}"
        if not await store.name_taken(tx, copy, besides=""):
            return copy
    raise DuplicateResource("There are too many copies of this chatbot; please name the new one.")


@chatbots.get("", name="list", who="M,K", query=ChatbotQuery, returns=Page[Chatbot])
async def list_chatbots(ctx: Ctx, query: ChatbotQuery) -> Page[Chatbot]:
    """List the organisation's chatbots."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows, total = await store.page(tx, query)
        origins = await store.origins_of(tx, [row["id"] for row in rows])
    data = [_chatbot(ctx.deps, row, origins[row["id"]]) for row in rows]
    return Page[Chatbot](data=data, pagination=pagination(query, total))


@chatbots.get("/{chatbot_id}", who="M,K", returns=Chatbot, etag=True)
async def get(ctx: Ctx) -> Chatbot:
    """One chatbot: its draft."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        return await _read(ctx, tx)


@chatbots.patch("/{chatbot_id}", who="E,K", body=ChatbotPatch, returns=Chatbot, etag=True, errors=(409,))
async def change(ctx: Ctx, body: ChatbotPatch) -> Chatbot:
    """Change a chatbot's draft."""
    deps = ctx.deps
    values = body.model_dump(exclude_unset=True, exclude={"settings"})
    if body.settings is not None:
        values["settings"] = body.settings.model_dump(exclude_none=True)
    async with deps.database.uow(ctx.tenant) as tx:
        before = await _read(ctx, tx)
        ctx.expect(etag_of(before))
        await deps.drafts.change(tx, before.id, values)
        after = await _read(ctx, tx)
        await tx.commit()
    return after


@chatbots.delete("/{chatbot_id}", who="A", returns=Deleted)
async def delete(ctx: Ctx) -> Deleted:
    """Put a chatbot into the trash. Visitors lose it at once; it can be restored for a week."""
    now = ctx.deps.now()
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        bot = await _read(ctx, tx)
        await store.change(tx, bot.id, {"status": "trashed", "trashed_at": now, "updated_at": now})
        tx.record("chatbot.deleted", {"chatbot_id": bot.id})
        await tx.commit()
    return Deleted(id=bot.id, restore_until=now + TRASH_DAYS * _DAY_MS)


@chatbots.post("/{chatbot_id}/publish", who="E", body=Publication, returns=Published, errors=(409,))
async def publish(ctx: Ctx, body: Publication) -> Published:
    """Show the draft to visitors, or go back to an older version."""
    author = ctx.caller.user_id
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        released = await ctx.deps.drafts.publish(
            tx, ctx.path["chatbot_id"], version=body.version, note=body.note, author=author
        )
        await tx.commit()
    return Published(version=released.version, published_at=released.published_at, diff_summary=list(released.changed))


@chatbots.get("/{chatbot_id}/versions", who="M", query=VersionQuery, returns=Page[Version])
async def versions(ctx: Ctx, query: VersionQuery) -> Page[Version]:
    """What was published, newest first."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        row = await _row(ctx, tx)
        rows, total = await store.page_of_versions(tx, query, row["id"])
    data = [Version(published=kept["version"] == row["published_version"], **kept) for kept in rows]
    return Page[Version](data=data, pagination=pagination(query, total))


@chatbots.post("/{chatbot_id}/duplicate", who="E", body=Copy, returns=Chatbot, status=201, errors=(409,))
async def duplicate(ctx: Ctx, body: Copy) -> Chatbot:
    """Make a draft that is like this chatbot's draft. No website may show it yet."""
    deps, now = ctx.deps, ctx.deps.now()
    async with deps.database.uow(ctx.tenant) as tx:
        original = await _row(ctx, tx)
        await _room(ctx, tx)
        settings = dict(original["settings"])
        if not body.include_knowledge:
            settings.pop("examples", None)
        row = original | {
            "id": deps.ids.new("cb"),
            "name": body.name or await _free_name(tx, original["name"]),
            "status": "draft",
            "settings": settings,
            "published_version": None,
            "created_by": ctx.caller.user_id,
            "created_at": now,
            "updated_at": now,
        }
        await _keep(tx, row)
        await tx.commit()
    return _chatbot(deps, row, [])


@chatbots.get("/{chatbot_id}/embed", who="M", query=EmbedQuery, returns=Embed)
async def embed(ctx: Ctx, query: EmbedQuery) -> Embed:
    """What to put on a website: the tag, and the headers for pages with a content security policy."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        bot = await _read(ctx, tx)
    deps = ctx.deps
    shown = embedding.embed(
        query.kind, bot.id, bot.name, origin=deps.origin, widget=deps.widget, allowed=bot.allowed_origins
    )
    if not ctx.caller.may(frozenset("A")):
        return shown
    return shown.model_copy(update={"identity_secret": await deps.identities.secret(ctx.tenant, bot.id)})


@chatbots.get("/{chatbot_id}/config", who="P", returns=BootConfig, etag=True, errors=(403,))
async def config(ctx: Ctx) -> Reply:
    """What the widget needs to start on a website that the chatbot allows."""
    deps = ctx.deps
    bot = await deps.bots.find(ctx.path["chatbot_id"])
    if bot is None:
        raise NotFound
    if not admits(bot.allowed_origins, ctx.origin, same_origin=ctx.same_origin):
        raise OriginNotAllowed(details="add the website's origin to the chatbot's allowed_origins")
    async with deps.database.view(PLATFORM) as tx:
        shown = await store.published(tx, bot.id)
    if bot.status != "active" or shown is None:
        raise ChatbotUnavailable
    settings = Settings.model_validate(shown["settings"])
    body = BootConfig(
        id=bot.id,
        name=bot.name,
        type=bot.type,
        language=bot.language,
        languages=shown["languages"],
        theme=settings.theme,
        texts=settings.texts,
        greeting=bot.greeting or None,
        suggestions=settings.suggestions,
        avatar=_avatar(deps, bot.avatar_id) if bot.type == "3d" and bot.avatar_id else None,
        voice=VoiceRef(id=bot.voice_id) if bot.voice_id and bot.type != "text" else None,
        features=Features(voice=bot.type != "text" and bot.voice_id is not None, three_d=bot.type == "3d", text=True),
        consent=Consent(required=False),
        presentation=shown.get("parts", {}).get("presentation", {}),
    )
    return Reply(body, headers={"Cache-Control": "private, max-age=60"})


def _avatar(deps: Deps, avatar_id: str) -> AvatarRef:
    base = f"/avatars/{avatar_id}"
    portrait = f"{base}.png" if avatar_id in deps.choices.portraits else None
    return AvatarRef(id=avatar_id, glb_url=f"{base}.glb", thumbnail_url=portrait)


async def _row(ctx: Ctx, tx: Transaction) -> Row:
    row = await store.find(tx, ctx.path["chatbot_id"])
    if row is None:
        raise NotFound
    return row


async def _read(ctx: Ctx, tx: Transaction) -> Chatbot:
    row = await _row(ctx, tx)
    return _chatbot(ctx.deps, row, (await store.origins_of(tx, [row["id"]]))[row["id"]])


def _chatbot(deps: Deps, row: Mapping[str, Any], origins: Sequence[str]) -> Chatbot:
    warnings = []
    if row["type"] != "text" and not deps.choices.voices.known(row["language"]):
        warnings.append(f"No installed voice speaks {row['language']}; one of another language reads the answers.")
    return Chatbot(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        avatar_id=row["avatar_id"],
        voice_id=row["voice_id"],
        language=row["language"],
        languages=row["languages"],
        purpose=row["purpose"],
        template_id=row["template_id"],
        status=row["status"],
        allowed_origins=list(origins),
        identity_mode=row["identity_mode"],
        settings=Settings.model_validate(row["settings"]),
        published_version=row["published_version"],
        warnings=warnings,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
