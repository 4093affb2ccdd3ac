"""Selection: what a chatbot can be made of."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from api._kit.choices import Choices
from api._kit.endpoint import Ctx, Deps, Service
from api._kit.paging import Page, pagination
from api.selection.models import AvatarChoice, AvatarQuery, ChoiceQuery, VoiceChoice, VoiceQuery
from pipelines.core.language import primary
from pipelines.providers.base import Voice

selection = Service("selection", 8004, "Selection Chatbot", "chatbot selection")

_T = TypeVar("_T", AvatarChoice, VoiceChoice)
_TYPES: Final = ("3d",)


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
    start = (query.page - 1) * query.limit
    return Page(data=ordered[start : start + query.limit], pagination=pagination(query, len(ordered)))
