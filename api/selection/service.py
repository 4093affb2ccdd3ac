"""Selection: what a chatbot can be made of, which one a member works on, and which one answers a page."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar, get_args

from api._kit.choices import Choices
from api._kit.endpoint import Ctx, Deps, Service
from api._kit.errors import Conflict, NotFound, OriginNotAllowed
from api._kit.http import etag_of
from api._kit.origins import admits
from api._kit.paging import Page
from api._kit.store import PLATFORM, Row, Transaction
from api._kit.templates import PURPOSES, TEMPLATES, Template, Tier
from api.selection import store
from api.selection.models import (
    AvatarChoice,
    AvatarQuery,
    ChoiceQuery,
    LanguageChoice,
    Options,
    PurposeChoice,
    Selected,
    Selection,
    TemplateChoice,
    TypeChoice,
    VoiceChoice,
    VoiceQuery,
)
from api.selection.rules import Visit, choose
from api.selection.site import NewRules, PageView, Resolved, Rule, Rules, pure
from pipelines.core.language import primary
from pipelines.providers.base import Voice

selection = Service("selection", 8004, "Selection Chatbot", "chatbot selection")

_T = TypeVar("_T", AvatarChoice, VoiceChoice)
_TYPES: Final = ("3d",)
_KINDS: Final = (
    TypeChoice(id="3d", name="3D avatar", description="Answers with a face, a voice and text"),
    TypeChoice(id="voice", name="Voice", description="Listens, and answers with a voice and text"),
    TypeChoice(id="text", name="Text", description="Reads and writes"),
)
_TIERS: Final = get_args(Tier)
"""From the smallest to the largest."""


@selection.get("/options", who="M", returns=Options)
async def options(ctx: Ctx) -> Options:
    """What a chatbot can be built from."""
    plan = await ctx.deps.plans.of(ctx.tenant)
    voices = Counter(voice.language for voice in ctx.deps.choices.voices)
    return Options(
        types=list(_KINDS),
        purposes=[PurposeChoice(id=purpose, text=text) for purpose, text in PURPOSES.items()],
        languages=[LanguageChoice(id=language, voices=number) for language, number in sorted(voices.items())],
        templates=[_template(template) for template in TEMPLATES.values()],
        tier_locked=[t.id for t in TEMPLATES.values() if _TIERS.index(t.min_tier) > _TIERS.index(plan.tier)],
        site_key=(await _site(ctx))["site_key"],
    )


@selection.get("/current", who="M", returns=Selection, errors=(404,))
async def current(ctx: Ctx) -> Selection:
    """The chatbot that you work on."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        chosen = await store.find_current(tx, ctx.caller.user_id)
        if chosen is None or await ctx.deps.drafts.find(tx, chosen["chatbot_id"]) is None:
            raise NotFound("You have not chosen a chatbot yet.")
    return Selection(chatbot_id=chosen["chatbot_id"], since=chosen["since"])


@selection.put("/current", who="M", body=Selected, returns=Selection, errors=(404,))
async def select(ctx: Ctx, body: Selected) -> Selection:
    """Choose the chatbot that you work on, on all your devices."""
    now, user_id = ctx.deps.now(), ctx.caller.user_id
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        if await ctx.deps.drafts.find(tx, body.chatbot_id) is None:
            raise NotFound
        chosen = await store.find_current(tx, user_id)
        if chosen is None or chosen["chatbot_id"] != body.chatbot_id:
            await store.set_current(tx, user_id, body.chatbot_id, now=now)
            await tx.commit()
            return Selection(chatbot_id=body.chatbot_id, since=now)
    return Selection(chatbot_id=body.chatbot_id, since=chosen["since"])


@selection.get("/rules", who="M", returns=Rules, etag=True)
async def rules(ctx: Ctx) -> Rules:
    """The rules by which a site's pages get their chatbots."""
    return _rules(await _site(ctx))


@selection.put("/rules", who="E", body=NewRules, returns=Rules, etag=True, errors=(409,))
async def set_rules(ctx: Ctx, body: NewRules) -> Rules:
    """Replace all rules at once."""
    deps, now = ctx.deps, ctx.deps.now()
    kept = [rule.model_copy(update={"id": rule.id or deps.ids.new("rule")}) for rule in body.rules]
    if len({rule.id for rule in kept}) < len(kept):
        raise Conflict("Two rules have the same id.")
    async with deps.database.uow(ctx.tenant) as tx:
        row = await store.site(tx, key=deps.ids.new("site"), now=now)
        ctx.expect(etag_of(_rules(row)))
        await _known(ctx, tx, kept, body.default_chatbot_id)
        row |= {
            "version": row["version"] + 1,
            "rules": [rule.kept() for rule in kept],
            "default_chatbot_id": body.default_chatbot_id,
            "updated_at": now,
        }
        await store.set_rules(tx, row)
        tx.record("selection.rules_updated", {"version": row["version"], "rules": len(kept)})
        await tx.commit()
    return _rules(row)


@selection.post("/resolve", who="P", body=PageView, returns=Resolved, errors=(403, 404))
async def resolve(ctx: Ctx, body: PageView) -> Resolved:
    """Which chatbot answers this page, and why. A rule whose chatbot is not published, or not for this website, is
    passed over."""
    deps = ctx.deps
    async with deps.database.view(PLATFORM) as tx:
        row = await store.site_of(tx, body.site_key)
    if row is None:
        raise NotFound("There is no such site.")
    visitor_id = body.visitor_id or deps.ids.new("anonymous")
    visit = Visit(
        page_url=body.page_url,
        now=datetime.fromtimestamp(deps.clock.now(), UTC),
        visitor_id=visitor_id,
        audience="returning" if body.visitor_id else "new",
        locale=body.locale,
        device=body.device,
        utm={str(key): value for key, value in body.utm.items()},
    )
    asked = [pure(kept) for kept in row["rules"]]
    passed: set[str] = set()
    refused = False
    while choice := choose(asked, row["default_chatbot_id"], visit, lambda chatbot_id: chatbot_id not in passed):
        bot = await deps.bots.find(choice.chatbot_id)
        if bot is not None and bot.organization_id == row["organization_id"] and bot.status == "active":
            if admits(bot.allowed_origins, ctx.origin, same_origin=ctx.same_origin):
                break
            refused = True
        passed.add(choice.chatbot_id)
    if choice is None:
        if refused:
            raise OriginNotAllowed(details="add the website's origin to the chatbot's allowed_origins")
        raise NotFound("No chatbot answers this page.", details="no rule matched, and there is no default")
    return Resolved(
        chatbot_id=choice.chatbot_id,
        variant=choice.variant,
        rule_id=choice.rule_id,
        reason=choice.reason,
        config_url=f"{deps.origin}/api/v1/chatbots/{choice.chatbot_id}/config",
        visitor_id=visitor_id,
    )


@selection.get("/avatars", who="M", query=AvatarQuery, returns=Page[AvatarChoice])
async def avatars(ctx: Ctx, query: AvatarQuery) -> Page[AvatarChoice]:
    """The avatars that a chatbot can have."""
    found = [
        avatar
        for avatar in await asyncio.to_thread(_avatars, ctx.deps.choices)
        if _among(avatar.style, query.style)
        and _among(avatar.gender, query.gender)
        and _among(avatar.license, query.license)
        and (query.type is None or not set(query.type).isdisjoint(avatar.types))
    ]
    return _page(found, query, lambda avatar: f"{avatar.id} {avatar.name} {avatar.description}")


@selection.get("/voices", who="M", query=VoiceQuery, returns=Page[VoiceChoice])
async def voices(ctx: Ctx, query: VoiceQuery) -> Page[VoiceChoice]:
    """The voices that a chatbot can speak with."""
    found = [
        _voice(ctx.deps, voice)
        for voice in ctx.deps.choices.voices
        if _speaks(voice, query.language)
        and _among(voice.gender, query.gender)
        and _among(voice.engine, query.provider)
        and _among(voice.style, query.style)
    ]
    return _page(found, query, lambda voice: f"{voice.id} {voice.name}")


async def _site(ctx: Ctx) -> Row:
    """The organisation's site, which gets its key when it is first asked for."""
    deps = ctx.deps
    async with deps.database.view(ctx.tenant) as tx:
        row = await store.find_site(tx)
    if row is None:
        async with deps.database.uow(ctx.tenant) as tx:
            row = await store.site(tx, key=deps.ids.new("site"), now=deps.now())
            await tx.commit()
    return row


async def _known(ctx: Ctx, tx: Transaction, rules: Sequence[Rule], default: str | None) -> None:
    """Raises Conflict for chatbots that the organisation does not have."""
    named = {share.chatbot_id for rule in rules for share in pure(rule.kept()).split}
    named |= {default} if default else set()
    unknown = [bot for bot in sorted(named) if await ctx.deps.drafts.find(tx, bot) is None]
    if unknown:
        listed = ", ".join(unknown)
        raise Conflict(f"There are no such chatbots: {listed}.", details="every rule names a chatbot of its own site")


def _rules(row: Row) -> Rules:
    return Rules(
        version=row["version"],
        site_key=row["site_key"],
        rules=[Rule.model_validate(kept) for kept in row["rules"]],
        default_chatbot_id=row["default_chatbot_id"],
    )


def _template(template: Template) -> TemplateChoice:
    return TemplateChoice(
        id=template.id,
        name=template.name,
        purpose=template.purpose,
        prompt=template.prompt,
        greeting=template.greeting,
        suggestions=list(template.suggestions),
        examples=len(template.examples),
        min_tier=template.min_tier,
    )


def _avatars(choices: Choices) -> list[AvatarChoice]:
    """Those that are built; looks at their files."""
    return [
        AvatarChoice(
            id=avatar.id,
            name=avatar.recipe.name,
            description=avatar.recipe.description,
            gender=avatar.recipe.gender,
            style=avatar.recipe.style,
            types=list(_TYPES),
            thumbnail_url=f"/avatars/{avatar.id}.png" if avatar.thumbnail.is_file() else None,
            glb_url=f"/avatars/{avatar.id}.glb",
            size_bytes=avatar.glb.stat().st_size,
            license=avatar.recipe.licence.id,
            credit=avatar.recipe.licence.credit,
            animations=list(avatar.recipe.animations),
            voice_id=avatar.recipe.voice,
        )
        for avatar in choices.library
        if avatar.built
    ]


def _voice(deps: Deps, voice: Voice) -> VoiceChoice:
    sample = deps.choices.samples.get(voice.id)
    return VoiceChoice(
        id=voice.id,
        name=voice.name,
        language=voice.language,
        gender=voice.gender,
        style=voice.style,
        provider=voice.engine,
        license=voice.licence,
        sample_url=deps.media.url(sample.media_id) if sample else None,
        sample_text=sample.text if sample else None,
        latency_class=deps.choices.voices.speed(voice),
    )


def _among(value: str, wanted: Sequence[str] | None) -> bool:
    return wanted is None or value in wanted


def _speaks(voice: Voice, wanted: Sequence[str] | None) -> bool:
    """A language means any of its dialects."""
    spoken = {voice.language.lower(), primary(voice.language)}
    return wanted is None or any(language.lower() in spoken for language in wanted)


def _page(found: Sequence[_T], query: ChoiceQuery, words: Callable[[_T], str]) -> Page[_T]:
    if query.search:
        found = [item for item in found if query.search.casefold() in words(item).casefold()]
    by_name = query.sort_by == "name"
    ordered = sorted(
        found, key=lambda item: (item.name.casefold() if by_name else "", item.id), reverse=query.order == "desc"
    )
    return Page.of(ordered, query)
