"""The endpoint table as aiohttp routes. Under api/ only this file and client.py know HTTP.

A request passes: match, authenticate and count (before the body is read), role, body and query, the answer that it had
if it was sent before, handler, response.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from aiohttp import BodyPartReader, web
from pydantic import BaseModel, ValidationError

from api._kit.auth import KEY_PREFIX, Exchanged, Principal, authorise
from api._kit.counting import network
from api._kit.endpoint import Ctx, Deps, Endpoint, Reply, Service, Upload, UploadedFile
from api._kit.errors import (
    ApiError,
    BadRequest,
    InvalidFormat,
    MissingField,
    NotFound,
    OriginNotAllowed,
    PayloadTooLarge,
    Problem,
    Unauthenticated,
    UnsupportedMediaType,
    envelope,
)
from api._kit.idempotency import LONGEST, Answer, Ticket, digest
from api._kit.limits import Charge
from api._kit.paging import Page, links
from api._kit.sse import Streamed, written
from api._kit.values import Input, rfc3339

REQUEST_ID: Final = web.RequestKey("request_id", str)
CLIENT: Final = web.RequestKey("client", str)
"""The client's address; set, like the request's id, by the outermost middleware."""

CHARGES: Final = web.RequestKey("charges", list[Charge])
"""What the request was counted in, for the headers of its response."""
NOTICE: Final = web.RequestKey("notice", Mapping[str, str])
"""What every response of an endpoint that goes says about that."""

BODY_SECONDS: Final = 10.0
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{LONGEST}}}")
_PATH_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_NOT_RESERVED: Final = r"(?!(?:health|create|invite|me|pages|openapi[.]json)(?:/|$))"
"""Words that stand in literal paths are no ids, so that those paths answer for themselves alone."""
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Nothing(Input):
    """The body of a request that needs none."""


def routes(services: Iterable[Service], deps: Deps) -> list[web.RouteDef]:
    """Every endpoint's route; each GET answers HEAD as well, which aiohttp sees to."""
    return [
        web.route(endpoint.method, endpoint.path.replace("}", f":{_NOT_RESERVED}[^{{}}/]+}}"), _handle(endpoint, deps))
        for service in services
        for endpoint in service.endpoints
    ]


def _handle(endpoint: Endpoint, deps: Deps) -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        if endpoint.deprecation:
            request[NOTICE] = endpoint.deprecation.headers
        principal = await _enter(endpoint, request, deps)
        authorise(endpoint.who, principal, endpoint.scope)
        path, key = _path(request), _key(endpoint, request)
        body, upload, sent = await _body(endpoint, request)
        query = _query(endpoint, request)
        ctx = Ctx(
            request_id=request.get(REQUEST_ID, ""),
            principal=principal,
            path=path,
            deps=deps,
            client=request.get(CLIENT, ""),
            origin=request.headers.get("Origin"),
            same_origin=request.headers.get("Sec-Fetch-Site") == "same-origin",
            if_match=request.headers.get("If-Match"),
            last_event_id=request.headers.get("Last-Event-ID"),
            idempotency_key=key,
            upload=upload,
        )
        if endpoint.limit:
            _admitted(request, await deps.limits.charge(endpoint.limit(ctx, body)))
        arguments = [a for a, wanted in ((body, endpoint.body), (query, endpoint.query)) if wanted]

        begun: asyncio.Future[Streamed] = asyncio.get_running_loop().create_future()

        async def make() -> Answer:
            result = await endpoint.call(ctx, *arguments)
            if isinstance(result, Streamed):
                begun.set_result(result)
                result = await result.whole()
            return _answer(endpoint, request, result)

        async def once(key: str) -> Answer:
            ticket = _ticket(ctx, request, key, sent)
            refuse = partial(refusal, request_id=ctx.request_id, now=deps.now())
            return await deps.replays.once(ticket, make, refuse, harmless=endpoint.harmless)

        if endpoint.streams:
            call = deps.background.first(once(key), begun, ctx.tenant) if key else endpoint.call(ctx, *arguments)
            streamed = await call
            if isinstance(streamed, Streamed):
                return _events(streamed)
            answer = streamed if isinstance(streamed, Answer) else _answer(endpoint, request, streamed)
        else:
            answer = await (once(key) if key else make())
        if answer.status == 304 or (endpoint.limit and answer.status < 400):
            counted = request[CHARGES]
            counted[:] = [await deps.limits.give_back(c, failures=answer.status != 304) for c in counted]
        return _response(answer)

    return handle


def refusal(error: ApiError, *, request_id: str, now: int) -> Answer:
    """The standard envelope. `now` is in milliseconds."""
    body = json.dumps(envelope(error, request_id, rfc3339(now))).encode()
    return Answer(error.status, error.headers, body)


def _key(endpoint: Endpoint, request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None or endpoint.method not in ("POST", "PATCH"):
        return None
    if not _KEY.fullmatch(key):
        raise InvalidFormat(f"An Idempotency-Key has 1 to {LONGEST} visible ASCII characters.")
    return key


def _ticket(ctx: Ctx, request: web.Request, key: str, sent: Sequence[str | bytes]) -> Ticket:
    """A key is an organisation's, a visitor's, or for who has no token the address's. One member's answer is not
    another's: who asks is part of the request."""
    caller = ctx.principal
    if caller is None:
        owner, user = f"ip:{network(ctx.client)}", ""
    elif caller.kind == "visitor":
        owner, user = f"visitor:{caller.chatbot_id}:{caller.user_id}", ""
    else:
        owner, user = f"org:{caller.organization_id}", caller.user_id
    fingerprint = digest(user, request.rel_url.raw_query_string, *sent)
    return Ticket(owner, request.method, request.path, key, fingerprint)


async def count(request: web.Request, deps: Deps, principal: Principal | None, amount: int = 1) -> None:
    """Count a request by whoever makes it; with 0 only look. Raises RateLimited."""
    allowances = await deps.limits.allowances(principal, request.get(CLIENT, ""))
    _admitted(request, await deps.limits.charge(allowances, amount))


def _admitted(request: web.Request, charge: Charge) -> None:
    request.setdefault(CHARGES, []).append(charge)
    if charge.refused:
        raise charge.refused


async def _enter(endpoint: Endpoint, request: web.Request, deps: Deps) -> Principal | None:
    """Who asks. A token that is refused counts as none, so that nobody can try many."""
    try:
        principal = None if endpoint.who == {"P"} else await _authenticate(request, deps)
    except ApiError as error:
        if endpoint.reused and isinstance(error, Exchanged):
            await endpoint.reused(deps, error.principal)
        await count(request, deps, None)
        raise
    if endpoint.counted:
        await count(request, deps, principal)
    return principal


async def _authenticate(request: web.Request, deps: Deps) -> Principal | None:
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    token = token.strip()
    if token.startswith(KEY_PREFIX):
        return await deps.keys.principal(token, request.get(CLIENT, ""))
    principal = await deps.tokens.verify(token)
    origin = request.headers.get("Origin")
    if principal.kind == "visitor" and origin is not None and origin != principal.origin:
        raise OriginNotAllowed(details="this token was issued to another website")
    return principal


def _path(request: web.Request) -> dict[str, str]:
    """An id that no resource can have names no resource."""
    if not all(_PATH_VALUE.fullmatch(value) for value in request.match_info.values()):
        raise NotFound
    return dict(request.match_info)


async def _body(
    endpoint: Endpoint, request: web.Request
) -> tuple[BaseModel | None, UploadedFile | None, Sequence[str | bytes]]:
    """What was sent: as the endpoint's model, as a file, and in parts that tell it from anything else."""
    if endpoint.method not in ("POST", "PUT", "PATCH") and endpoint.body is None:
        return None, None, ()
    model = endpoint.body or Nothing
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if endpoint.upload and request.content_type == "multipart/form-data":
                fields, file = await _multipart(request, endpoint.upload)
                parts = [part for item in sorted(fields.items()) for part in item]
                return _valid(model, fields), file, (*parts, file.content_type, file.data)
            data = await _read(request, endpoint.max_body)
    except TimeoutError:
        raise BadRequest("The request's body came too slowly.") from None
    if not data:
        return _valid(model, {}), None, ()
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType(details="send application/json in UTF-8")
    if _NUL.search(data):
        raise InvalidFormat(details="NUL characters are not accepted")
    try:
        return model.model_validate_json(data, strict=True), None, (data,)
    except ValidationError as error:
        raise _refusal(error) from None


async def _read(request: web.Request, limit: int) -> bytes:
    """The body, unless it is over the limit: then it is not read to its end."""
    if (request.content_length or 0) > limit:
        raise PayloadTooLarge(details=f"at most {limit} bytes")
    data = bytearray()
    async for chunk in request.content.iter_chunked(65_536):
        data += chunk
        if len(data) > limit:
            raise PayloadTooLarge(details=f"at most {limit} bytes")
    return bytes(data)


async def _multipart(request: web.Request, upload: Upload) -> tuple[dict[str, str], UploadedFile]:
    if (request.content_length or 0) > upload.max_bytes + 65_536:
        raise PayloadTooLarge(details=f"at most {upload.max_bytes} bytes of {upload.field}")
    fields: dict[str, str] = {}
    file: UploadedFile | None = None
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name:
                raise BadRequest(details="every part needs a name")
            if part.name in fields or (part.name == upload.field and file):
                raise BadRequest(f"{part.name} is given twice.")
            if part.name == upload.field:
                data = await _part(part, upload.max_bytes)
                file = UploadedFile(part.filename or "", part.headers.get("Content-Type", ""), data)
            elif part.filename is not None:
                raise BadRequest(f"{part.name} is not known here: send the file as {upload.field}.")
            else:
                fields[part.name] = (await _part(part, 65_536)).decode()
    except (ValueError, AssertionError):
        raise BadRequest("The form could not be read.") from None
    if file is None:
        raise MissingField(fields=[Problem(upload.field, "MISSING_FIELD", "Field required")])
    return fields, file


async def _part(part: BodyPartReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65_536):
        data += chunk
        if len(data) > limit:
            raise PayloadTooLarge(details=f"at most {limit} bytes of {part.name}")
    return bytes(data)


def _query(endpoint: Endpoint, request: web.Request) -> BaseModel | None:
    values = request.query
    for name in values:
        if len(values.getall(name)) > 1:
            raise BadRequest(f"{name} is given twice.")
    return _valid(endpoint.query or Nothing, dict(values))


def _valid(model: type[BaseModel], values: Mapping[str, str]) -> BaseModel:
    if any("\0" in value for value in values.values() if isinstance(value, str)):
        raise InvalidFormat(details="NUL characters are not accepted")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> BadRequest:
    """The first problem names the refusal; all of them are listed. Nothing of the input is echoed."""
    problems = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(map(str, item["loc"])) or "body"
        match item["type"]:
            case "missing":
                code, text = "MISSING_FIELD", f"{name} is required."
            case "extra_forbidden":
                code, text = "INVALID_REQUEST", f"{name} is not known here."
            case "json_invalid":
                code, text = "INVALID_REQUEST", "The body is not valid JSON."
            case "string_pattern_mismatch":
                code, text = "INVALID_FORMAT", f"{name} does not have the right form."
            case _:
                code, text = "INVALID_FORMAT", f"{name}: {item['msg'].removeprefix('Value error, ')}."
        problems.append(Problem(name, code, text))
    kinds: dict[str, type[BadRequest]] = {
        "MISSING_FIELD": MissingField,
        "INVALID_REQUEST": BadRequest,
        "INVALID_FORMAT": InvalidFormat,
    }
    details = f"{len(problems)} problem{'s' * (len(problems) > 1)}: " + ", ".join(p.field for p in problems[:20])
    return kinds[problems[0].code](problems[0].message, details=details, fields=problems[:20])


def etag_of(body: BaseModel) -> str:
    """A strong validator of a representation (RFC 9110, section 8.8)."""
    return f'"{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:27]}"'


def _answer(endpoint: Endpoint, request: web.Request, result: BaseModel | Reply) -> Answer:
    reply = result if isinstance(result, Reply) else Reply(result)
    headers = dict(reply.headers)
    text = reply.body.model_dump_json()
    if endpoint.etag:
        headers["ETag"] = etag_of(reply.body)
        if request.method in ("GET", "HEAD") and _matches(request.headers.get("If-None-Match"), headers["ETag"]):
            return Answer(304, headers, b"")
    if isinstance(reply.body, Page):
        headers["Link"] = links(request.path, dict(request.query), reply.body.pagination)
    return Answer(reply.status or endpoint.status, headers, text.encode())


def _response(answer: Answer) -> web.Response:
    response = web.Response(body=answer.body or None, status=answer.status, headers=answer.headers)
    if answer.body:
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _events(streamed: Streamed) -> web.Response:
    """The stream; whoever reads it may leave, and come back."""
    response = web.Response(body=written(streamed.events, streamed.after))
    response.headers.update({"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    return response


def _matches(header: str | None, etag: str) -> bool:
    return header is not None and any(
        candidate.strip().removeprefix("W/") in ("*", etag) for candidate in header.split(",")
    )
