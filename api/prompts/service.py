"""Prompts: named templates for what chatbots are told, in versions that do not change, one published a chatbot."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

from api._kit.endpoint import Ctx, Service
from api._kit.errors import Conflict, DuplicateResource, InvalidFormat, MissingField, NotFound, Problem, UpstreamError
from api._kit.http import etag_of
from api._kit.limits import Allowance, Window
from api._kit.paging import Page, pagination
from api._kit.store import Row, Transaction
from api.prompts import store
from api.prompts.models import (
    NewPrompt,
    Prompt,
    PromptPatch,
    PromptQuery,
    PromptTest,
    PromptVersion,
    Publication,
    Published,
    Removed,
    TestAnswer,
    VariableValue,
    VersionChoice,
    VersionQuery,
)
from pipelines.core.prompt import messages
from pipelines.core.template import LONGEST, moment, problems, render, tokens
from pipelines.providers.base import ChatMessage

prompts = Service("prompts", 8009, "System Prompt", "what chatbots are told")

TESTS_AN_HOUR: Final = 30
LONG: Final = 1_000
"""Tokens over which the packaged model has little room left for the talk itself."""
_TEMPLATES: Final[Mapping[str, Mapping[str, Any]]] = {
    template["id"]: template
    for template in tomllib.loads((Path(__file__).parent / "templates.toml").read_text())["template"]
}


@prompts.get("", name="list", who="M,K", query=PromptQuery, returns=Page[Prompt])
async def list_prompts(ctx: Ctx, query: PromptQuery) -> Page[Prompt]:
    """List prompts, or with `template=true` those to begin with."""
    if query.template:
        found = [_template(one) for one in _TEMPLATES.values() if not query.purpose or one["purpose"] in query.purpose]
        found = [one for one in found if query.search is None or query.search.lower() in one.name.lower()]
        found.sort(key=lambda one: one.name, reverse=query.order == "desc")
        return Page[Prompt].of(found, query)
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows, total = await store.page(tx, query, chatbots=query.chatbot_id, purposes=query.purpose)
    return Page[Prompt](data=[_prompt(row) for row in rows], pagination=pagination(query, total))


@prompts.post("", who="E,K", body=NewPrompt, returns=Prompt, status=201, errors=(404, 409))
async def create(ctx: Ctx, body: NewPrompt) -> Prompt:
    """Write a prompt for a chatbot. Nobody is told it before it is published."""
    deps, now = ctx.deps, ctx.deps.now()
    template: Mapping[str, Any] = {}
    if body.from_template is not None:
        if body.from_template not in _TEMPLATES:
            text = "from_template: there is no such template; see /api/v1/prompts?template=true."
            raise InvalidFormat(text, fields=[Problem("from_template", "INVALID_FORMAT", text)])
        template = _TEMPLATES[body.from_template]
    content = body.content or template.get("content", "").strip()
    if not content:
        raise MissingField("content is required.", fields=[Problem("content", "MISSING_FIELD", "content is required.")])
    variables = body.variables if body.variables is not None else _declared(template)
    row: Row = {
        "id": deps.ids.new("prm"),
        "chatbot_id": body.chatbot_id,
        "name": body.name,
        "purpose": body.purpose or template.get("purpose"),
        "language": body.language,
        "version": 1,
        "published_version": None,
        "published_at": None,
        "created_at": now,
        "updated_at": now,
    }
    kept = _version(ctx, content, variables, None, now)
    async with deps.database.uow(ctx.tenant) as tx:
        await deps.parts.get(tx, body.chatbot_id, "prompt")
        if not await store.create(tx, row, kept):
            raise DuplicateResource("This chatbot has a prompt of this name.")
        await tx.commit()
    return _prompt({**row, **kept})


@prompts.get("/{prompt_id}", who="M,K", query=VersionChoice, returns=Prompt, etag=True)
async def get(ctx: Ctx, query: VersionChoice) -> Prompt:
    """One prompt: its newest version, or the one that is named."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        return _prompt(await _at(tx, await _row(ctx, tx), query.version))


@prompts.patch("/{prompt_id}", who="E,K", body=PromptPatch, returns=Prompt, etag=True, errors=(409,))
async def change(ctx: Ctx, body: PromptPatch) -> Prompt:
    """Change a prompt. New content or variables are a new version, which is published on its own."""
    now = ctx.deps.now()
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        await store.lock(tx, ctx.path["prompt_id"])
        row = await _row(ctx, tx)
        ctx.expect(etag_of(_prompt(row)))
        if body.name is not None and await store.name_taken(tx, row["chatbot_id"], body.name, besides=row["id"]):
            raise DuplicateResource("This chatbot has a prompt of this name.")
        values: dict[str, Any] = {"updated_at": now}
        values |= body.model_dump(include={"name", "purpose"}, exclude_none=True)
        if body.content is not None or body.variables is not None:
            variables = [VariableValue(**one) for one in row["variables"]] if body.variables is None else body.variables
            kept = _version(ctx, body.content or row["content"], variables, body.note, now)
            values["version"] = row["version"] + 1
            await store.add_version(tx, row["id"], values["version"], kept)
        await store.change(tx, row["id"], values)
        after = await _row(ctx, tx)
        await tx.commit()
    return _prompt(after)


@prompts.delete("/{prompt_id}", who="E", returns=Removed, errors=(409,))
async def delete(ctx: Ctx) -> Removed:
    """Delete a prompt and all its versions, unless it is the published one."""
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        await store.lock(tx, ctx.path["prompt_id"])
        row = await _row(ctx, tx)
        if row["published_version"] is not None:
            raise Conflict("This prompt is published: publish another one first.")
        await store.remove(tx, row["id"])
        await tx.commit()
    return Removed(id=row["id"])


@prompts.get("/{prompt_id}/versions", who="M", query=VersionQuery, returns=Page[PromptVersion])
async def versions(ctx: Ctx, query: VersionQuery) -> Page[PromptVersion]:
    """List a prompt's versions, or compare two of them."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        row = await _row(ctx, tx)
        compared: tuple[Row, Row] | None = None
        if query.diff:
            a, b = (int(number) for number in query.diff.split(".."))
            compared = (await _at(tx, row, a), await _at(tx, row, b))
        numbers = [one["version"] for one in compared] if compared else None
        rows, total = await store.page_of_versions(tx, query, row["id"], numbers)
    data = [
        PromptVersion(
            version=one["version"],
            author=one["author"],
            note=one["note"],
            tokens=tokens(one["content"]),
            created_at=one["created_at"],
            diff=_diff(*compared) if compared and one["version"] == compared[1]["version"] else None,
        )
        for one in rows
    ]
    return Page[PromptVersion](data=data, pagination=pagination(query, total))


@prompts.post("/{prompt_id}/publish", who="E", body=Publication, returns=Published)
async def publish(ctx: Ctx, body: Publication) -> Published:
    """Let the chatbot answer by this prompt from now on: in its draft, and for visitors if it is published."""
    now = ctx.deps.now()
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        await store.lock(tx, ctx.path["prompt_id"])
        row = await _row(ctx, tx)
        shown = await _at(tx, row, body.version)
        part = {
            "prompt_id": row["id"],
            "version": shown["version"],
            "content": shown["content"],
            "variables": {one["name"]: one["value"] for one in shown["variables"]},
        }
        note = f"Prompt “{row['name']}”, version {shown['version']}"
        await ctx.deps.parts.set(tx, row["chatbot_id"], "prompt", part, live=True, author=ctx.caller.user_id, note=note)
        await store.unpublish_others(tx, row["chatbot_id"], row["id"])
        await store.change(tx, row["id"], {"published_version": shown["version"], "published_at": now})
        said = {"chatbot_id": row["chatbot_id"], "prompt_id": row["id"], "version": shown["version"]}
        tx.record("prompt.published", said)
        await tx.commit()
    return Published(prompt_id=row["id"], version=shown["version"], published_at=now)


def _tests(ctx: Ctx, body: PromptTest) -> Sequence[Allowance]:
    return (Allowance(f"prompts.test:{ctx.tenant}", (Window("tests", 3600, TESTS_AN_HOUR),)),)


@prompts.post("/{prompt_id}/test", who="E", body=PromptTest, returns=TestAnswer, limit=_tests)
async def test(ctx: Ctx, body: PromptTest) -> TestAnswer:
    """Ask the chatbot's model with this prompt. It is charged like any other answer."""
    deps = ctx.deps
    async with deps.database.view(ctx.tenant) as tx:
        shown = await _at(tx, await _row(ctx, tx), body.version)
    bot = await deps.bots.find(shown["chatbot_id"], draft=True)
    if bot is None:
        raise NotFound
    own = {one["name"]: one["value"] for one in shown["variables"]} | body.variables
    visit = {"visitor.locale": bot.language, "now": moment(deps.clock.now())}
    visit |= {name: value for name, value in body.variables.items() if name in LONGEST}
    rendered = render(shown["content"], {**own, "bot.name": bot.name, "bot.language": bot.language}, visit)
    *before, question = body.messages
    history = [*bot.examples, *(ChatMessage(one.role, one.content) for one in before)]
    chat = messages(rendered.system, history, question.content, context=rendered.context)
    chosen = deps.models.choose(bot, ctx.caller.user_id)
    if body.model_id is not None:
        if body.model_id not in {one.id for one in await deps.models.listed(ctx.tenant) if one.kind == "chat"}:
            text = "model_id: there is no such chat model; see /api/v1/llm/models."
            raise InvalidFormat(text, fields=[Problem("model_id", "INVALID_FORMAT", text)])
        chosen = deps.models.chosen(ctx.tenant, [body.model_id], chatbot_id=bot.id, user_id=ctx.caller.user_id)
    trial = await deps.models.ask(chosen, ctx.tenant, chat)
    if trial.error is not None:
        raise UpstreamError(trial.error)
    return TestAnswer(
        rendered="\n\n".join(text for text in (chat[0].content, rendered.context) if text),
        tokens=trial.input_tokens,
        response=trial.response,
        model_id=trial.model_id,
        finish_reason=trial.finish_reason,
        citations=[],
        latency_ms=trial.total_ms,
        cost=trial.cost,
    )


async def _row(ctx: Ctx, tx: Transaction) -> Row:
    row = await store.find(tx, ctx.path["prompt_id"])
    if row is None:
        raise NotFound
    return row


async def _at(tx: Transaction, row: Row, number: int | None) -> Row:
    """The prompt with the content of that version; the newest when there is no number. Raises NotFound."""
    if number is None or number == row["version"]:
        return row
    kept = await store.version(tx, row["id"], number)
    if kept is None:
        raise NotFound(f"There is no version {number}.")
    return {**row, "version": number, "content": kept["content"], "variables": kept["variables"]}


def _version(ctx: Ctx, content: str, variables: Sequence[VariableValue], note: str | None, now: int) -> dict[str, Any]:
    return {
        "content": content,
        "variables": [one.model_dump() for one in variables],
        "note": note,
        "author": ctx.caller.user_id,
        "created_at": now,
    }


def _declared(template: Mapping[str, Any]) -> list[VariableValue]:
    return [VariableValue(name=name, value=value) for name, value in template.get("variables", {}).items()]


def _prompt(row: Mapping[str, Any], *, template: bool = False) -> Prompt:
    count = tokens(row["content"])
    warnings = problems(row["content"], {one["name"]: one["value"] for one in row["variables"]})
    if count > LONG:
        warnings.append(f"About {count} tokens: small models have little room left for the talk itself.")
    return Prompt(
        id=row["id"],
        chatbot_id=row["chatbot_id"],
        name=row["name"],
        purpose=row["purpose"],
        language=row["language"],
        version=row["version"],
        content=row["content"],
        variables=row["variables"],
        tokens=count,
        warnings=warnings,
        template=template,
        published_version=row["published_version"],
        published_at=row["published_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _template(one: Mapping[str, Any]) -> Prompt:
    """A packaged prompt in the form of any other."""
    unset = dict.fromkeys(("chatbot_id", "published_version", "published_at"))
    times = {"created_at": 0, "updated_at": 0}
    variables = [declared.model_dump() for declared in _declared(one)]
    row = {**unset, **times, **one, "content": one["content"].strip(), "variables": variables}
    return _prompt({**row, "language": "en-US", "version": 1}, template=True)


def _diff(a: Row, b: Row) -> str:
    """A unified diff of the contents and the variables."""
    old, new = (
        [*one["content"].splitlines(), *(f"{{{{{v['name']}}}}} = {v['value']}" for v in one["variables"])]
        for one in (a, b)
    )
    return "\n".join(unified_diff(old, new, f"version {a['version']}", f"version {b['version']}", lineterm=""))
