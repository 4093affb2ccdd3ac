"""State: setting a chatbot up step by step, how it presents itself, and what its conversations show right now."""

from typing import Any, Final

from api._kit.checklist import STEPS, Draft, Step, checklist, current, missing, percent
from api._kit.endpoint import Ctx, Service
from api._kit.errors import Conflict, InvalidFormat, MissingField, NotFound, Problem
from api._kit.http import etag_of
from api._kit.ports import Bot, Modality
from api._kit.store import Row, Transaction
from api.state import store
from api.state.models import LiveState, Phase, SessionQuery, Setup, State, StepPayload, StepRecord
from api.state.presentation import KINDS, changes, written

FIELDS: Final[dict[Step, tuple[str, ...]]] = {
    "type": ("type",),
    "purpose": ("purpose",),
    "knowledge": ("examples",),
    "prompt": ("prompt", "greeting"),
    "avatar": ("avatar_id",),
    "voice": ("voice_id",),
    "appearance": ("theme",),
    "deploy": ("allowed_origins", "note"),
}
_SETTINGS: Final = frozenset({"examples", "prompt", "greeting", "theme"})
_PHASES: Final[dict[str, Phase]] = {"active": "live", "paused": "paused", "maintenance": "maintenance"}


def state_service(type: Modality, port: int, title: str) -> Service:
    """One of the three rows of the catalogue."""
    service = Service(f"state-{type}", port, f"State {title}", f"{title} chatbot state")
    kind = KINDS[type]
    whole = State[kind.whole]  # type: ignore[name-defined]

    @service.get("/{chatbot_id}", who="M,K", returns=whole, etag=True, errors=(409,))
    async def get(ctx: Ctx) -> State[Any]:
        """How far a chatbot is set up, and how it presents itself."""
        async with ctx.deps.database.view(ctx.tenant) as tx:
            return await _read(ctx, tx, type)

    @service.put(
        "/{chatbot_id}/steps/{step}", who="E,K", body=StepPayload, returns=whole, etag=True, errors=(409,), name="step"
    )
    async def put_step(ctx: Ctx, body: StepPayload) -> State[Any]:
        """Do a step, or skip it. Doing it again does no harm."""
        async with ctx.deps.database.uow(ctx.tenant) as tx:
            before = await _read(ctx, tx, type)
            step = _step(ctx, type)
            ctx.expect(etag_of(before))
            setup = await store.find_setup(tx, before.chatbot_id)
            if body.skip:
                done = _skip(step, body, setup)
            else:
                await _do(ctx, tx, step, body)
                done = [name for name in setup["skipped"] if name != step]
            await store.keep_setup(tx, setup, skipped=done, now=ctx.deps.now())
            said = {"chatbot_id": before.chatbot_id, "step": step, "skipped": bool(body.skip)}
            tx.record("state.step_completed", said)
            after = await _read(ctx, tx, type)
            await tx.commit()
        return after

    @service.patch("/{chatbot_id}", who="E,K", body=kind.patch, returns=whole, etag=True, errors=(409,), name="present")
    async def patch(ctx: Ctx, body: Any) -> State[Any]:
        """Change how a chatbot presents itself: a merge patch, in which null sets a value back."""
        deps = ctx.deps
        async with deps.database.uow(ctx.tenant) as tx:
            before = await _read(ctx, tx, type)
            ctx.expect(etag_of(before))
            given = body.model_dump(exclude_unset=True)
            values, part = changes(await _draft(ctx, tx, type), given)
            if values:
                await deps.drafts.change(tx, before.chatbot_id, values)
            await deps.parts.set(tx, before.chatbot_id, "presentation", part or None)
            setup = await store.find_setup(tx, before.chatbot_id)
            await store.keep_setup(tx, setup, skipped=setup["skipped"], now=deps.now())
            tx.record("state.updated", {"chatbot_id": before.chatbot_id, "changed": sorted(given)})
            after = await _read(ctx, tx, type)
            await tx.commit()
        return after

    @service.get(
        "/{chatbot_id}/sessions/{conversation_id}",
        who="V,M,G",
        query=SessionQuery,
        returns=LiveState,
        etag=True,
        errors=(409,),
    )
    async def session(ctx: Ctx, query: SessionQuery) -> LiveState:
        """What a conversation shows right now, so that another tab can go on with it."""
        return await _session(ctx, query, await _bot(ctx, type))

    return service


state_3d = state_service("3d", 8006, "3D")
state_text = state_service("text", 8007, "Text")
state_voice = state_service("voice", 8008, "Voice")


async def _draft(ctx: Ctx, tx: Transaction, type: Modality) -> Draft:
    """Raises NotFound, and Conflict for a chatbot of another type."""
    draft = await ctx.deps.drafts.find(tx, ctx.path["chatbot_id"])
    if draft is None:
        raise NotFound
    _expect_type(draft.type, type)
    return draft


def _expect_type(actual: Modality, type: Modality) -> None:
    if actual != type:
        raise Conflict(f"This is a {actual} chatbot.", details=f"use /api/v1/state-{actual}")


async def _read(ctx: Ctx, tx: Transaction, type: Modality) -> State[Any]:
    draft = await _draft(ctx, tx, type)
    setup = await store.find_setup(tx, draft.id)
    steps = checklist(draft, ctx.deps.drafts.installed, setup["skipped"])
    whole = KINDS[type].whole
    return State[whole](  # type: ignore[valid-type]
        chatbot_id=draft.id,
        type=type,
        phase=_PHASES.get(draft.status, "setup" if missing(steps) else "ready"),
        setup=Setup(
            current_step=current(steps),
            steps=[
                StepRecord(name=step.name, status=step.status, required=step.required, problems=list(step.problems))
                for step in steps
            ],
            percent=percent(steps),
        ),
        presentation=whole.model_validate(written(draft)),
        revision=setup["revision"],
        updated_at=max(draft.updated_at, setup["updated_at"]),
    )


def _step(ctx: Ctx, type: Modality) -> Step:
    for step in STEPS[type]:
        if step == ctx.path["step"]:
            return step
    raise NotFound(f"The steps are: {', '.join(STEPS[type])}.")


def _skip(step: Step, body: StepPayload, setup: Row) -> list[str]:
    if body.model_fields_set != {"skip"}:
        raise InvalidFormat("A step is either skipped or done.")
    if step not in ("knowledge", "appearance"):
        raise Conflict(f"The step {step} cannot be skipped.")
    return sorted({*setup["skipped"], step})


async def _do(ctx: Ctx, tx: Transaction, step: Step, body: StepPayload) -> None:
    """Write the step through to the chatbot itself."""
    draft = await ctx.deps.drafts.find(tx, ctx.path["chatbot_id"])
    assert draft is not None
    given = body.model_dump(exclude_none=True)
    own = FIELDS[step]
    if wrong := [name for name in given if name not in own]:
        text = f"The step {step} takes {' and '.join(own)}."
        raise InvalidFormat(text, fields=[Problem(name, "INVALID_FORMAT", text) for name in wrong])
    if step == "type":
        _expect_type(draft.type, given.get("type", draft.type))
    elif step == "deploy":
        await _deploy(ctx, tx, draft, given)
    elif own[0] not in given:
        text = f"The step {step} needs {own[0]}."
        raise MissingField(text, fields=[Problem(own[0], "MISSING_FIELD", text)])
    else:
        settings = {name: value for name, value in given.items() if name in _SETTINGS}
        values = {name: value for name, value in given.items() if name not in _SETTINGS}
        await ctx.deps.drafts.change(tx, draft.id, values | ({"settings": settings} if settings else {}))


async def _deploy(ctx: Ctx, tx: Transaction, draft: Draft, given: dict[str, Any]) -> None:
    """Publish, once everything that is required is there. Raises Conflict with the steps that are missing."""
    setup = await store.find_setup(tx, draft.id)
    if lacking := missing(checklist(draft, ctx.deps.drafts.installed, setup["skipped"])):
        listed = ", ".join(lacking)
        raise Conflict(f"First do: {listed}.", details=f"missing steps: {listed}", extra={"missing": lacking})
    if not given.get("allowed_origins", draft.allowed_origins):
        text = "Name the websites that may show the chatbot."
        raise MissingField(text, fields=[Problem("allowed_origins", "MISSING_FIELD", text)])
    if "allowed_origins" in given:
        await ctx.deps.drafts.change(tx, draft.id, {"allowed_origins": given["allowed_origins"]})
    await ctx.deps.drafts.publish(tx, draft.id, note=given.get("note"), author=ctx.caller.user_id)


async def _bot(ctx: Ctx, type: Modality) -> Bot:
    caller = ctx.caller
    bot = await ctx.deps.bots.find(ctx.path["chatbot_id"], draft=caller.kind != "visitor")
    if bot is None or bot.organization_id != ctx.tenant or (caller.chatbot_id or bot.id) != bot.id:
        raise NotFound
    _expect_type(bot.type, type)
    return bot


async def _session(ctx: Ctx, query: SessionQuery, bot: Bot) -> LiveState:
    """From what is shown now, else from what was shown at the end, else from the conversation that there is."""
    conversation_id = ctx.path["conversation_id"]
    shown: dict[str, Any] = {}
    seq, updated_at = 0, None
    user_id: str | None
    live = await ctx.deps.live.find(conversation_id)
    if live is not None:
        known, user_id, seq, updated_at = live.chatbot_id == bot.id, live.user_id, live.seq, live.updated_at
        shown = dict(live.shown)
    else:
        async with ctx.deps.database.view(ctx.tenant) as tx:
            kept = await store.find_session(tx, conversation_id)
        if kept is not None:
            known, user_id, seq, updated_at = (
                kept["chatbot_id"] == bot.id,
                kept["user_id"],
                kept["seq"],
                kept["updated_at"],
            )
            shown = kept["shown"]
        else:
            user_id = await ctx.deps.conversations.user_of(bot, conversation_id)
            known = user_id is not None
    if not known or user_id is None or (ctx.caller.kind == "visitor" and user_id != ctx.caller.user_id):
        raise NotFound
    status = shown.get("status", "idle")
    own: dict[str, Any] = {}
    if bot.type == "3d":
        own = {name: shown.get(name) for name in ("emotion", "gesture", "gaze", "viseme_clock_ms")}
        own["avatar_id"] = bot.avatar_id
    if bot.type == "text":
        own["typing"] = status in ("thinking", "speaking")
    else:
        own |= {name: shown.get(name) for name in ("vad", "playback_ms", "barge_in_at")}
    return LiveState(
        conversation_id=conversation_id,
        chatbot_id=bot.id,
        user_id=user_id,
        type=bot.type,
        status=status,
        seq=seq,
        changed=query.after_seq is None or seq > query.after_seq,
        updated_at=updated_at,
        **own,
    )
