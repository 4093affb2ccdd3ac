"""What a website needs to show a chatbot: the tag in the form that suits the site, and the headers it must allow."""

from collections.abc import Sequence
from html import escape
from typing import Final

from api._kit.endpoint import WidgetBuild
from api.chatbots.models import Embed, Kind

MODES: Final = frozenset({"inline", "fullpage"})


def embed(
    kind: Kind, bot_id: str, name: str, *, origin: str, widget: WidgetBuild | None, allowed: Sequence[str]
) -> Embed:
    """How a page shows the chatbot with this id. `origin` is this server's public address."""
    pinned = None
    if kind in ("bubble", "inline", "fullpage"):
        html = _tag(f"{origin}/widget.js", bot_id, kind)
        if widget:
            integrity = f'integrity="{widget.integrity}" crossorigin '
            pinned = _tag(f"{origin}{widget.path}", bot_id, kind, integrity)
    elif kind == "iframe":
        html = _iframe(origin, bot_id, name)
    elif kind == "react":
        html = _react(origin, bot_id)
    else:
        html = _wordpress(origin, bot_id)
    return Embed(
        kind=kind,
        html=html,
        html_pinned=pinned,
        npm=None,
        csp=csp(origin, frame=kind == "iframe"),
        sri=widget.integrity if widget else None,
        allowed_origins=list(allowed),
    )


def _tag(source: str, bot_id: str, kind: Kind, more: str = "") -> str:
    mode = f' data-mode="{kind}"' if kind in MODES else ""
    return f'<script src="{source}" {more}data-chatbot-id="{escape(bot_id)}"{mode} async></script>'


def _iframe(origin: str, bot_id: str, name: str) -> str:
    """A document of the site's own origin, so that the chatbot's list of websites holds for it too."""
    tag = _tag(f"{origin}/widget.js", bot_id, "fullpage")
    page = f'<!doctype html><meta name="viewport" content="width=device-width">{tag}'
    return (
        f'<iframe title="{escape(name)}" srcdoc="{escape(page)}" allow="microphone; autoplay" '
        'width="400" height="640"></iframe>'
    )


def _react(origin: str, bot_id: str) -> str:
    return f"""import {{ useEffect }} from "react";

export function Chatbot() {{
  useEffect(() => {{
    const script = document.createElement("script");
    script.src = "{origin}/widget.js";
    script.async = true;
    script.dataset.chatbotId = "{bot_id}";
    document.body.append(script);
    return () => {{
      window.MA?.("shutdown");
      script.remove();
    }};
  }}, []);
  return null;
}}"""


def _wordpress(origin: str, bot_id: str) -> str:
    """For the theme's functions.php or a snippets plugin."""
    return f"""add_action('wp_footer', function () {{
    echo '{_tag(f"{origin}/widget.js", bot_id, "bubble")}';
}});"""


def csp(origin: str, *, frame: bool = False) -> dict[str, str]:
    """The widget loads its script, data, pictures and sound from one origin; models and textures pass through blobs."""
    socket = origin.replace("http", "ws", 1)
    directives = {
        "script-src": f"'self' {origin} 'wasm-unsafe-eval'",
        "connect-src": f"'self' {origin} {socket} blob:",
        "img-src": f"'self' {origin} blob: data:",
        "media-src": f"'self' {origin} blob:",
        "worker-src": f"'self' {origin} blob:",
    }
    if frame:
        directives["frame-src"] = "'self'"
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in directives.items()),
        "Permissions-Policy": "microphone=(self)",
    }
