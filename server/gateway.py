"""One front door: the services' tables behind their prefixes, health, documents, and the files of the widget."""

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from api._kit.endpoint import Ctx, Deps, Endpoint, Reply, Service, WidgetBuild
from api._kit.errors import BadRequest, NotFound, Unavailable
from api._kit.health import Liveness, ServerHealth
from api._kit.http import routes
from api._kit.openapi import Dialect, Json, document
from api.auth.service import auth
from api.chat.calls import chat_3d, chat_text, chat_voice
from api.chatbots.service import chatbots
from api.history.service import history
from api.llm.service import llm
from api.maintenance.service import maintenance
from api.prompts.service import prompts
from api.selection.service import selection
from api.state.service import state_3d, state_text, state_voice
from api.users.service import users
from server.middleware import middlewares
from server.proxy import Row, passing

SERVICES: Final = (
    auth,
    users,
    chatbots,
    selection,
    state_3d,
    state_text,
    state_voice,
    prompts,
    maintenance,
    chat_3d,
    chat_text,
    chat_voice,
    history,
    llm,
)
"""The catalogue's rows that this process serves."""

LARGEST_BODY: Final = 12 * 1024 * 1024
"""What aiohttp may read at all; every endpoint has a smaller limit of its own."""
_ROOT: Final = Path(__file__).resolve().parents[1]
_FOREVER: Final = "public, max-age=31536000, immutable"
_SHORT: Final = "public, max-age=300"
_PAGE: Final = "no-cache"
_OURS: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
_DEMO_CSP: Final = (
    _OURS + "script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
    "media-src 'self' blob:; connect-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'"
)
_ACCOUNT_CSP: Final = _OURS + "script-src 'self'; style-src 'self'; connect-src 'self'"
_DOCS_CSP: Final = (
    _OURS + "script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:"
)

system = Service("gateway", 8000, "Gateway", "API routing, health", prefix="")


@system.get("/health", who="P", returns=ServerHealth, others={503: ServerHealth}, counted=False)
async def health(ctx: Ctx) -> Reply:
    """How the server is."""
    report = await ctx.deps.vitals.report()
    return Reply(report, status=503 if report.status == "unavailable" else 200)


@system.get("/health/live", who="P", returns=Liveness, counted=False)
async def live(ctx: Ctx) -> Liveness:
    """The process answers."""
    return Liveness(status="ok")


@system.get("/health/ready", who="P", returns=Liveness, counted=False)
async def ready(ctx: Ctx) -> Liveness:
    """New conversations are welcome: the models are loaded and the server is not stopping."""
    if not ctx.deps.vitals.serving:
        raise Unavailable(details="starting" if not ctx.deps.vitals.ready else "stopping", retry_after=5)
    return Liveness(status="ok")


@dataclass(frozen=True, slots=True)
class Files:
    """Where the built files are."""

    widget: Path = _ROOT / "static/embed/dist"
    demo: Path = _ROOT / "static/embed/demo"
    docs: Path = _ROOT / "static/docs"
    account: Path = _ROOT / "static/account"
    avatars: Path = _ROOT / "avatars/dist"

    def build(self) -> WidgetBuild | None:
        """The widget as it was built; None before the first build."""
        manifest, loader = self.widget / "manifest.json", self.widget / "widget.js"
        if not manifest.is_file() or not loader.is_file():
            return None
        name = json.loads(manifest.read_bytes())["build"]
        digest = base64.b64encode(hashlib.sha384(loader.read_bytes()).digest()).decode()
        return WidgetBuild(f"/w/{name}/widget.js", f"sha384-{digest}")


def application(
    deps: Deps,
    *,
    services: Sequence[Service] = SERVICES,
    files: Files | None = None,
    trusted_proxies: int = 0,
    demo_chatbot: str | None = None,
    elsewhere: Collection[Row] = (),
    alone: bool = False,
) -> web.Application:
    """The whole HTTP side. Sockets and metrics are attached to it by the caller.

    Rows that are `elsewhere` are passed on to; a process that serves some rows `alone` has no pages and files.
    """
    app = web.Application(middlewares=middlewares(deps, trusted_proxies=trusted_proxies), client_max_size=LARGEST_BODY)
    names = {row.name for row in elsewhere}
    app.add_routes(routes((system, *(service for service in services if service.name not in names)), deps))
    for row in elsewhere:
        for path in ("", "/{path:.*}"):
            app.router.add_route("*", f"/api/v1/{row.name}{path}", row.forward)
    app.middlewares.insert(1, passing(elsewhere))
    _documents(app, deps, services)
    if not alone:
        _files(app, deps, files or Files(), demo_chatbot)
    return app


def openapi(*, version: str, origin: str, dialect: Dialect = "3.0", services: Sequence[Service] = SERVICES) -> Json:
    """The document of the gateway and its services."""
    return document((system, *services), version=version, origin=origin, dialect=dialect)


def table(services: Sequence[Service] = SERVICES) -> list[Endpoint]:
    """Every endpoint that is served."""
    return [endpoint for service in (system, *services) for endpoint in service.endpoints]


def _documents(app: web.Application, deps: Deps, services: Sequence[Service]) -> None:
    by_name: dict[str, Sequence[Service]] = {service.name: (service,) for service in services}
    by_name[""] = (system, *services)
    made: dict[tuple[str, Dialect], bytes] = {}

    async def show(request: web.Request) -> web.Response:
        name, dialect = request.match_info.get("service", ""), _dialect(request)
        if name not in by_name:
            raise NotFound
        if (name, dialect) not in made:
            shown = document(by_name[name], version=deps.vitals.version, origin=deps.origin, dialect=dialect)
            made[name, dialect] = orjson.dumps(shown)
        return web.Response(body=made[name, dialect], content_type="application/json", headers={"Cache-Control": _PAGE})

    app.router.add_get("/openapi.json", show)
    app.router.add_get("/api/v1/{service}/openapi.json", show)


def _dialect(request: web.Request) -> Dialect:
    match request.query.get("version", "3.0"):
        case "3.0" | "3.1" as dialect:
            return dialect
        case _:
            raise BadRequest("version is 3.0 or 3.1.", details="query parameter version")


def _files(app: web.Application, deps: Deps, files: Files, demo_chatbot: str | None) -> None:
    async def media(request: web.Request) -> web.StreamResponse:
        found = await deps.media.open(request.match_info["media_id"], request.query.get("sig", ""))
        if found is None:
            raise NotFound
        headers = {"Content-Type": found.content_type, "Cache-Control": "private, max-age=86400"}
        if found.name:
            headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
        return web.FileResponse(found.path, headers=headers)

    async def demo(request: web.Request) -> web.Response:
        if demo_chatbot is None:
            raise NotFound
        return web.json_response({"chatbot_id": demo_chatbot, "origin": deps.origin}, headers={"Cache-Control": _PAGE})

    build = files.build()
    pinned = build.path if build else ""

    async def parts(request: web.Request) -> web.StreamResponse:
        if request.path == pinned:
            return _file(files.widget, "widget.js", _FOREVER)
        return _file(files.widget / "w", request.match_info["path"], _FOREVER)

    get = app.router.add_get
    get("/media/{media_id}", media)
    get("/download/{media_id}", media)
    get("/demo.json", demo)
    get("/widget.js", _serve(files.widget, "widget.js", _SHORT))
    get("/w/{path:.+}", parts)
    get("/avatars/{path:[A-Za-z0-9_-]+[.](?:glb|png)}", _serve(files.avatars, None, "public, max-age=3600"))
    get("/", _serve(files.demo, "index.html", _PAGE, csp=_DEMO_CSP))
    get("/demo/{path:.+}", _serve(files.demo, None, _PAGE, csp=_DEMO_CSP))
    get("/account/", _serve(files.account, "index.html", _PAGE, csp=_ACCOUNT_CSP))
    get("/account/{path:.+}", _serve(files.account, None, _PAGE, csp=_ACCOUNT_CSP))
    get("/docs", _serve(files.docs, "swagger.html", _PAGE, csp=_DOCS_CSP))
    get("/redoc", _serve(files.docs, "redoc.html", _PAGE, csp=_DOCS_CSP))
    get("/docs/{path:.+}", _serve(files.docs, None, _SHORT, csp=_DOCS_CSP))


def _serve(
    folder: Path, name: str | None, cache: str, *, csp: str | None = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """One file, or the file that the address names."""

    async def serve(request: web.Request) -> web.StreamResponse:
        return _file(folder, name or request.match_info["path"], cache, csp=csp)

    return serve


def _file(folder: Path, name: str, cache: str, *, csp: str | None = None) -> web.FileResponse:
    """Raises NotFound for what is not a file inside the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise NotFound
    headers = {"Cache-Control": cache}
    if csp:
        headers["Content-Security-Policy"] = csp
    return web.FileResponse(path, headers=headers)
