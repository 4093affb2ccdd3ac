"""Chatbot creation: drafts, publishing, and what a website needs to show a chatbot."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from api._kit.choices import DEFAULT_AVATAR
from api._kit.endpoint import Ctx, Deps, Reply, Service
from api._kit.errors import (
    ChatbotUnavailable,
    Conflict,
    DuplicateResource,
    InvalidFormat,
    NotFound,
    OriginNotAllowed,
    Problem,
)
from api._kit.http import etag_of
from api._kit.origins import admits
from api._kit.paging import Page, pagination
from api._kit.store import PLATFORM, Row, Transaction
from api.chatbots import store
from api.chatbots.models import (
    AvatarRef,
    BootConfig,
    Chatbot,
    ChatbotPatch,
    ChatbotQuery,
    Consent,
    Deleted,
    Embed,
    EmbedQuery,
    Features,
    NewChatbot,
    Publication,
    Published,
    Settings,
    VoiceRef,
)

chatbots = Service("chatbots", 8003, "Create Chatbot", "chatbot creation")

TRASH_DAYS: Final = 7
_DAY_MS: Final = 86_400_000
_EXAMPLES: Final = {
    "request": {"name": "Support Bot", "type": "3d", "avatar_id": "avatar_female_01", "language": "en-US"}
}


@chatbots.post("", name="create_in_list", who="E,K", body=NewChatbot, returns=Chatbot, status=201, errors=(409,))
@chatbots.post("/create", who="E,K", body=NewChatbot, returns=Chatbot, status=201, errors=(409,), examples=_EXAMPLES)
async def create(ctx: Ctx, body: NewChatbot) -> Chatbot:
    """Make a chatbot, as a draft."""
    deps, now = ctx.deps, ctx.deps.now()
    _check_choices(deps, body.avatar_id, body.voice_id)
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
        "purpose": body.purpose,
        "status": "draft",
        "identity_mode": "off",
        "settings": {},
        "parts": {},
        "template_id": None,
        "published_version": None,
        "created_by": ctx.caller.user_id,
        "created_at": now,
        "updated_at": now,
    }
    async with deps.database.uow(ctx.tenant) as tx:
        if not await store.create(tx, row):
            raise DuplicateResource("There is already a chatbot with this name.")
        tx.record("chatbot.created", {"chatbot_id": row["id"], "name": row["name"], "type": row["type"]})
        await tx.commit()
    return _chatbot(deps, row, [])


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
    _check_choices(deps, body.avatar_id, body.voice_id)
    given = body.model_dump(exclude_unset=True, exclude={"allowed_origins", "settings"})
    values = {k: v for k, v in given.items() if v is not None or k in ("purpose", "voice_id", "avatar_id")}
    async with deps.database.uow(ctx.tenant) as tx:
        before = await _read(ctx, tx)
        ctx.expect(etag_of(before))
        if body.name is not None and await store.name_taken(tx, body.name, besides=before.id):
            raise DuplicateResource("There is already a chatbot with this name.")
        if values.get("avatar_id", "") is None and before.type == "3d":
            values["avatar_id"] = DEFAULT_AVATAR
        if body.settings is not None:
            kept = before.settings.model_dump(exclude_defaults=True)
            values["settings"] = kept | body.settings.model_dump(exclude_none=True)
            if body.settings.prompt is not None:
                await deps.parts.set(tx, before.id, "prompt", None)
        if body.allowed_origins is not None:
            await store.set_origins(tx, before.id, body.allowed_origins)
        await store.change(tx, before.id, {**values, "updated_at": deps.now()})
        tx.record("chatbot.updated", {"chatbot_id": before.id, "changed": sorted(body.model_fields_set)})
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
    deps, now = ctx.deps, ctx.deps.now()
    async with deps.database.uow(ctx.tenant) as tx:
        row = await _row(ctx, tx)
        if row["status"] == "maintenance":
            raise Conflict("The chatbot is under maintenance.", details="status is maintenance")
        before = await store.snapshot(tx, row["id"], row["published_version"] or 0)
        if body.version is None:
            version, shown = await store.keep_snapshot(tx, row, note=body.note, author=ctx.caller.user_id, now=now)
        else:
            older = await store.snapshot(tx, row["id"], body.version)
            if older is None:
                raise NotFound(f"There is no version {body.version}.")
            version, shown = body.version, older["snapshot"]
        await store.change(tx, row["id"], {"published_version": version, "status": "active", "updated_at": now})
        tx.record("chatbot.published", {"chatbot_id": row["id"], "version": version})
        await tx.commit()
    changed = store.changed(before["snapshot"] if before else {}, shown)
    return Published(version=version, published_at=now, diff_summary=changed)


@chatbots.get("/{chatbot_id}/embed", who="M", query=EmbedQuery, returns=Embed)
async def embed(ctx: Ctx, query: EmbedQuery) -> Embed:
    """What to put on a website: the tag, and the headers for pages with a content security policy."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        bot = await _read(ctx, tx)
    origin, widget = ctx.deps.origin, ctx.deps.widget
    mode = "" if query.kind == "bubble" else f' data-mode="{query.kind}"'
    rest = f'data-chatbot-id="{escape(bot.id)}"{mode} async></script>'
    pinned = widget and f'<script src="{origin}{widget.path}" integrity="{widget.integrity}" crossorigin {rest}'
    return Embed(
        html=f'<script src="{origin}/widget.js" {rest}',
        html_pinned=pinned,
        npm=None,
        csp=_csp(origin),
        sri=widget.integrity if widget else None,
        allowed_origins=bot.allowed_origins,
    )


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
        texts={},
        greeting=bot.greeting or None,
        suggestions=settings.suggestions,
        avatar=_avatar(deps, bot.avatar_id) if bot.type == "3d" and bot.avatar_id else None,
        voice=VoiceRef(id=bot.voice_id) if bot.voice_id and bot.type != "text" else None,
        features=Features(voice=bot.type != "text" and bot.voice_id is not None, three_d=bot.type == "3d", text=True),
        consent=Consent(required=False),
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
        status=row["status"],
        allowed_origins=list(origins),
        identity_mode=row["identity_mode"],
        settings=Settings.model_validate(row["settings"]),
        published_version=row["published_version"],
        warnings=warnings,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _check_choices(deps: Deps, avatar_id: str | None, voice_id: str | None) -> None:
    for field, value, known in (
        ("avatar_id", avatar_id, deps.choices.avatars),
        ("voice_id", voice_id, deps.choices.voice_ids),
    ):
        if value is not None and value not in known:
            text = f"{field} is not installed here; there are: {', '.join(sorted(known)) or 'none'}."
            raise InvalidFormat(text, fields=[Problem(field, "INVALID_FORMAT", text)])


def _csp(origin: str) -> dict[str, str]:
    """The widget loads its script, data, pictures and sound from one origin; models and textures pass through blobs."""
    socket = origin.replace("http", "ws", 1)
    directives = {
        "script-src": f"'self' {origin} 'wasm-unsafe-eval'",
        "connect-src": f"'self' {origin} {socket} blob:",
        "img-src": f"'self' {origin} blob: data:",
        "media-src": f"'self' {origin} blob:",
        "worker-src": f"'self' {origin} blob:",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in directives.items()),
        "Permissions-Policy": "microphone=(self)",
    }
