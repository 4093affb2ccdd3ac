"""The demo chatbot: made at the first start, so that the page at `/` has someone to talk to."""

from collections.abc import Iterable
from typing import Final

from api._kit.choices import DEFAULT_AVATAR
from api._kit.origins import normal
from api._kit.store import Database
from api.chatbots import store
from api.users.store import Accounts

ORGANIZATION: Final = "org_demo"
CHATBOT: Final = "cb_demo"
NAME: Final = "Ava"
GREETING: Final = "Hi, I'm Ava. Ask me something, or just say hello!"
SUGGESTIONS: Final = ["What can you do?", "How do I put you on my website?", "Do you need the cloud?"]
PROMPT: Final = """You are Ava, a friendly talking avatar. You live on this website and answer visitors.
Facts:
MachineAvatars is an open source server for talking avatars.
Visitors can type or speak. You answer with text, a voice and a moving 3D face.
Everything runs on this computer. No cloud, no account and no key is needed.
One script tag puts you on any website.
It is free under the MIT licence.
A better language model can be plugged in by changing one setting."""


async def ensure_demo(database: Database, accounts: Accounts, *, now: int, origins: Iterable[str]) -> str:
    """The demo chatbot's id. Makes it if it is not there, and lets it be shown at `origins`; `now` in milliseconds."""
    await accounts.ensure_organization(ORGANIZATION, "Demo")
    allowed = list(dict.fromkeys(normal(origin) for origin in origins))
    async with database.uow(ORGANIZATION) as tx:
        if await store.find(tx, CHATBOT) is None:
            await store.create(
                tx,
                {
                    "id": CHATBOT,
                    "name": NAME,
                    "type": "3d",
                    "avatar_id": DEFAULT_AVATAR,
                    "voice_id": None,
                    "language": "en-US",
                    "languages": ["en-US"],
                    "purpose": "Show what this server can do",
                    "status": "draft",
                    "identity_mode": "off",
                    "settings": {"prompt": PROMPT, "greeting": GREETING, "suggestions": SUGGESTIONS},
                    "published_version": None,
                    "created_by": None,
                    "created_at": now,
                    "updated_at": now,
                },
            )
        row = await store.find(tx, CHATBOT)
        if row is not None and row["published_version"] is None:
            version, _ = await store.keep_snapshot(tx, row, note=None, author=None, now=now)
            await store.change(tx, CHATBOT, {"published_version": version, "status": "active"})
        known = (await store.origins_of(tx, [CHATBOT]))[CHATBOT]
        if not set(allowed) <= set(known):
            await store.set_origins(tx, CHATBOT, [*known, *allowed])
        await tx.commit()
    return CHATBOT
