"""Language models: which there are, which a chatbot uses, keys of one's own, trying out, and what was used."""

import asyncio  # create_task only inside the TaskGroup of a test: no task outlives its request
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from api._kit.endpoint import Ctx, Service
from api._kit.errors import BadRequest, Conflict, InvalidFormat, NotFound, Problem, UrlNotAllowed
from api._kit.http import etag_of
from api._kit.limits import Allowance, Window
from api._kit.paging import Page, pagination
from api._kit.ports import Fetched, FetchFailed, FetchLimits, ModelInfo
from api._kit.store import Row, Transaction
from api.llm import store
from api.llm.catalogue import OWN, PRESETS, SERVER
from api.llm.choosing import context_of
from api.llm.models import (
    ChatModel,
    Model,
    ModelQuery,
    ModelTest,
    NewProvider,
    NewSelection,
    Provider,
    ProviderQuery,
    Removal,
    Removed,
    Selection,
    TestResult,
    TestResults,
    TokenCount,
    TokenPrice,
    UsageQuery,
    UsageReport,
    UsageRow,
)
from pipelines.providers.base import ChatMessage

llm = Service("llm", 8016, "LLM Model", "language models")

TESTS_AN_HOUR: Final = 30
"""How often an organisation may try out models in an hour; prompts are counted apart."""
MOST_MODELS: Final = 300
"""Models that are kept of a provider's list."""
MOST_ROWS: Final = 1_000
_PROBE: Final = FetchLimits(bytes=2_000_000, seconds=15.0, redirects=0)
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


@llm.get("/models", who="M,K", query=ModelQuery, returns=Page[Model])
async def models(ctx: Ctx, query: ModelQuery) -> Page[Model]:
    """List the models that can be chosen: the server's, and those of providers that you have a key for."""
    found = [_model(one) for one in await ctx.deps.models.listed(ctx.tenant)]
    found = [
        one
        for one in found
        if (query.provider is None or one.provider in query.provider)
        and (query.kind is None or one.kind in query.kind)
        and (query.modality is None or one.modality in query.modality)
        and (query.residency is None or one.residency == query.residency)
        and (query.min_tier is None or one.min_tier == query.min_tier)
        and (query.search is None or query.search.lower() in one.id.lower())
    ]
    found.sort(key=lambda one: (getattr(one, query.sort_by), one.id), reverse=query.order == "desc")
    return Page[Model].of(found, query)


@llm.get("/selection/{chatbot_id}", who="M", returns=Selection, etag=True)
async def selection(ctx: Ctx) -> Selection:
    """The models of a chatbot's draft."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        chat = await _chat(ctx, tx)
    return _selection(ctx, chat, await ctx.deps.models.listed(ctx.tenant))


@llm.put("/selection/{chatbot_id}", who="E", body=NewSelection, returns=Selection, etag=True, errors=(409,))
async def select(ctx: Ctx, body: NewSelection) -> Selection:
    """Choose the models of a chatbot. Members talk to them at once, visitors when the chatbot is published."""
    listed = await ctx.deps.models.listed(ctx.tenant)
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        ctx.expect(etag_of(_selection(ctx, await _chat(ctx, tx), listed)))
        _check(body.chat, listed)
        given = body.chat.model_dump(exclude_none=True)
        part = {"model_id": given.pop("primary"), "fallbacks": given.pop("fallbacks"), "params": given}
        await ctx.deps.parts.set(tx, ctx.path["chatbot_id"], "model", part, author=ctx.caller.user_id)
        tx.record("llm.selection_changed", {"chatbot_id": ctx.path["chatbot_id"], "model_id": part["model_id"]})
        await tx.commit()
    return _selection(ctx, body.chat, listed)


def _tests(ctx: Ctx, body: ModelTest) -> Sequence[Allowance]:
    return (Allowance(f"llm.test:{ctx.tenant}", (Window("tests", 3600, TESTS_AN_HOUR),)),)


@llm.post("/test", who="E", body=ModelTest, returns=TestResults, errors=(404,), limit=_tests)
async def test(ctx: Ctx, body: ModelTest) -> TestResults:
    """Ask up to four models the same and compare. It is charged like any other answer."""
    if body.chatbot_id is not None:
        async with ctx.deps.database.view(ctx.tenant) as tx:
            await ctx.deps.parts.get(tx, body.chatbot_id, "model")
    listed = await ctx.deps.models.listed(ctx.tenant)
    for number, model_id in enumerate(body.models):
        _usable(model_id, listed, f"models.{number}")
    said = [ChatMessage(message.role, message.content) for message in body.messages]

    async def ask(model_id: str) -> TestResult:
        chosen = ctx.deps.models.chosen(
            ctx.tenant, [model_id], chatbot_id=body.chatbot_id or "", user_id=ctx.caller.user_id
        )
        trial = await ctx.deps.models.ask(chosen, ctx.tenant, said)
        return TestResult(
            model_id=model_id,
            response=trial.response,
            finish_reason=trial.finish_reason,
            first_token_ms=trial.first_token_ms,
            total_ms=trial.total_ms,
            tokens=TokenCount(input=trial.input_tokens, output=trial.output_tokens),
            cost=trial.cost,
            error=trial.error,
        )

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(model_id)) for model_id in body.models]
    return TestResults(results=[task.result() for task in asked])


@llm.get("/providers", who="A", query=ProviderQuery, returns=Page[Provider])
async def providers(ctx: Ctx, query: ProviderQuery) -> Page[Provider]:
    """List the providers that the organisation has a key for."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows, total = await store.page(tx, query)
    return Page[Provider](data=[_provider(row) for row in rows], pagination=pagination(query, total))


@llm.put("/providers/{provider}", who="A", body=NewProvider, returns=Provider)
async def keep_provider(ctx: Ctx, body: NewProvider) -> Provider:
    """Bring a key of your own for an OpenAI-compatible provider. The key is tried first, and never shown again."""
    deps, name, now = ctx.deps, ctx.path["provider"], ctx.deps.now()
    if name == SERVER or not name or len(name) > 32 or not _NAME.issuperset(name) or name.startswith("-"):
        raise InvalidFormat("A provider's name has small letters, digits and hyphens, and is not “server”.")
    address = body.base_url or PRESETS.get(name)
    if address is None:
        text = f"base_url is needed: {name} is none of {', '.join(sorted(PRESETS))}."
        raise InvalidFormat(text, fields=[Problem("base_url", "MISSING_FIELD", text)])
    base_url = deps.egress.check(address).rstrip("/")
    if not base_url.startswith("https:") and not deps.egress.excepted(base_url):
        raise UrlNotAllowed("A key is sent over https only.", details="base_url begins with http://")
    offered = await _probe(ctx, base_url, body)
    row: Row = {
        "id": deps.ids.new("prv"),
        "name": name,
        "base_url": base_url,
        "key_sealed": deps.vault.seal(body.api_key.encode(), context_of(ctx.tenant, name)),
        "key_last4": body.api_key[-4:] if len(body.api_key) >= 12 else "",
        "region": body.region,
        "models": offered,
        "status": "ok",
        "last_error": None,
        "created_at": now,
        "updated_at": now,
    }
    async with deps.database.uow(ctx.tenant) as tx:
        if not await store.keep(tx, row):
            raise Conflict
        tx.record("provider.updated", {"provider": name})
        kept = await store.find(tx, name)
        await tx.commit()
    deps.models.forget(ctx.tenant, name)
    return _provider(kept or row)


@llm.delete("/providers/{provider}", who="A", query=Removal, returns=Removed, errors=(409,))
async def remove_provider(ctx: Ctx, query: Removal) -> Removed:
    """Forget a provider and its key. While chatbots use its models that takes `force`."""
    name = ctx.path["provider"]
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        if await store.find(tx, name) is None:
            raise NotFound
        parts = await ctx.deps.parts.everywhere(tx, "model")
        using = sorted(
            {bot for bot, part in parts if any(_of(id, name) for id in (part["model_id"], *part["fallbacks"]))}
        )
        if using and not query.force:
            raise Conflict("Chatbots use models of this provider.", details=", ".join(using[:20]))
        await store.remove(tx, name)
        tx.record("provider.removed", {"provider": name})
        await tx.commit()
    ctx.deps.models.forget(ctx.tenant, name)
    return Removed(provider=name, affected_chatbots=using)


@llm.get("/usage", who="M,K", query=UsageQuery, returns=UsageReport)
async def usage(ctx: Ctx, query: UsageQuery) -> UsageReport:
    """What models were used and what that cost, by chatbot, model, end user or day."""
    today = datetime.fromtimestamp(ctx.deps.clock.now(), UTC).date()
    until = query.until or today
    since = query.since or until - timedelta(days=30)
    await ctx.deps.models.flush(ctx.tenant)
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows = await store.spent(
            tx,
            query.group_by,
            since=since.isoformat(),
            until=until.isoformat(),
            chatbot_id=query.chatbot_id,
            most=MOST_ROWS,
        )
    return UsageReport(rows=[UsageRow(**row) for row in rows])


async def _chat(ctx: Ctx, tx: Transaction) -> ChatModel:
    """What the chatbot's draft has chosen. Raises NotFound."""
    part = await ctx.deps.parts.get(tx, ctx.path["chatbot_id"], "model")
    if part is None:
        return ChatModel(primary=OWN)
    return ChatModel(primary=part["model_id"], fallbacks=part["fallbacks"], **part["params"])


def _selection(ctx: Ctx, chat: ChatModel, listed: Sequence[ModelInfo]) -> Selection:
    server = {one.kind: one.id for one in reversed(listed) if one.provider == SERVER}
    return Selection(
        chatbot_id=ctx.path["chatbot_id"],
        chat=chat,
        embedding=server.get("embedding"),
        stt=server.get("stt"),
        tts=server.get("tts"),
    )


def _check(chat: ChatModel, listed: Sequence[ModelInfo]) -> None:
    _usable(chat.primary, listed, "chat.primary")
    for number, model_id in enumerate(chat.fallbacks):
        _usable(model_id, listed, f"chat.fallbacks.{number}")


def _usable(model_id: str, listed: Sequence[ModelInfo], field: str) -> None:
    """Raises InvalidFormat for what is no chat model of the organisation's, Conflict for one that is retired."""
    one = next((one for one in listed if one.id == model_id), None)
    if one is None or one.kind != "chat":
        text = f"{field}: there is no such chat model; see /api/v1/llm/models."
        raise InvalidFormat(text, fields=[Problem(field, "INVALID_FORMAT", text)])
    if one.status == "retired":
        raise Conflict("This model has been retired.", details=field)


def _of(model_id: str, provider: str) -> bool:
    return model_id.startswith(f"{provider}/")


async def _probe(ctx: Ctx, base_url: str, body: NewProvider) -> list[dict[str, Any]]:
    """Try the key; the models that the provider offers. Raises BadRequest for a provider that does not take it."""
    declared = {model.name: model.model_dump() for model in body.models or ()}
    headers = {"Authorization": f"Bearer {body.api_key}", "Accept": "application/json"}
    if declared:
        word = {"model": next(iter(declared)), "messages": [{"role": "user", "content": "Hello"}]}
        asked = await _call(ctx, "POST", f"{base_url}/chat/completions", headers, word)
        if asked.status != 200 or not isinstance(_object(asked).get("choices"), list):
            raise _refused(asked)
    listed = await _call(ctx, "GET", f"{base_url}/models", headers)
    if listed.status != 200:
        if declared:
            return list(declared.values())
        raise _refused(listed)
    entries = _object(listed).get("data")
    if not isinstance(entries, list) or not (entries or declared):
        raise BadRequest("The provider was not understood: it lists no models.", details="GET /models has no data[]")
    names = [e["id"] for e in entries if isinstance(e, dict) and isinstance(e.get("id"), str)]
    plain = [n.removeprefix("models/") for n in names if 0 < len(n) <= 127 and n.isprintable() and " " not in n]
    return [*declared.values(), *({"name": n} for n in dict.fromkeys(plain) if n not in declared)][:MOST_MODELS]


async def _call(
    ctx: Ctx, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None
) -> Fetched:
    sent = None if body is None else json.dumps(body).encode()
    more = {"Content-Type": "application/json"} if sent else {}
    try:
        return await ctx.deps.egress.fetch(method, url, headers={**headers, **more}, body=sent, limits=_PROBE)
    except FetchFailed as error:
        raise BadRequest("The provider could not be reached.", details=str(error)) from None


def _object(answer: Fetched) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(answer: Fetched) -> BadRequest:
    if answer.status in (401, 403):
        return BadRequest("The provider does not accept this key.", details=f"it answered {answer.status}")
    return BadRequest("The provider did not answer as expected.", details=f"it answered {answer.status}")


def _model(one: ModelInfo) -> Model:
    priced = one.price_input is not None and one.price_output is not None
    return Model(
        id=one.id,
        provider=one.provider,
        name=one.name,
        kind=one.kind,
        modality="audio" if one.kind in ("stt", "tts") else "text",
        context=one.context,
        price=TokenPrice(**{"in": one.price_input or 0, "out": one.price_output or 0}) if priced else None,
        capabilities=["streaming"] if one.kind == "chat" else [],
        locality=one.locality,
        residency=one.residency,
        min_tier="free_trial",
        status=one.status,
        deprecated_at=None,
    )


def _provider(row: Row) -> Provider:
    return Provider(
        provider=row["name"],
        base_url=row["base_url"],
        key_last4=row["key_last4"],
        region=row["region"],
        models=len(row["models"]),
        status=row["status"],
        last_error=row["last_error"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
