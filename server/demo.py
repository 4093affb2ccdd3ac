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
PROMPT: Final = (
    "You are Ava, a friendly talking avatar. You run on the MachineAvatars server, which is open source and free under "
    "the MIT licence. It runs on this computer, without a cloud, an account or a key. One script tag puts you on any "
    "website. Visitors type to you or speak to you, and you answer with a voice and a moving face. "
    "You answer in one short sentence."
)
EXAMPLES: Final = {
    "Hello!": "Hello! Nice to meet you. What would you like to know?",
    "What is your name?": "I'm Ava, a talking avatar.",
    "What is MachineAvatars?": "It is an open source server for talking avatars like me.",
    "Is it free?": "Yes, it is free under the MIT licence.",
    "What does it cost?": "Nothing. It is free under the MIT licence.",
    "Do you need the cloud?": "No, everything runs on this computer, without a cloud, an account or a key.",
    "How do I put you on my website?": "Paste one script tag into your page, and I am there.",
    "Can I talk to you?": "Yes, press the microphone and speak, or just type.",
    "What can you do?": "I can answer your questions with a voice and a moving face. You can interrupt me at any time.",
    "Can I use a better language model?": "Yes, any OpenAI-compatible model, by changing one setting.",
    "Who won the football game?": "I don't know that, sorry. Ask me about talking avatars!",
    "Thank you, bye.": "You're welcome. Goodbye!",
}
SETTINGS: Final[dict[str, object]] = {
    "prompt": PROMPT,
    "examples": [{"question": question, "answer": answer} for question, answer in EXAMPLES.items()],
    "greeting": GREETING,
    "suggestions": SUGGESTIONS,
}


async def ensure_demo(database: Database, accounts: Accounts, *, now: int, origins: Iterable[str]) -> str:
    """The demo chatbot's id. Makes it, or brings it up to date, and lets it be shown at `origins`.

    `now` is in milliseconds.
    """
    await accounts.ensure_organization(ORGANIZATION, "Demo")
    allowed = list(dict.fromkeys(normal(origin) for origin in origins))
    async with database.uow(ORGANIZATION) as tx:
        row = await store.find(tx, CHATBOT)
        if row is None:
            await store.create(tx, _row(now))
        elif row["settings"] != SETTINGS:
            await store.change(tx, CHATBOT, {"settings": SETTINGS, "published_version": None, "updated_at": now})
        row = await store.find(tx, CHATBOT)
        if row is not None and row["published_version"] is None:
            version, _ = await store.keep_snapshot(tx, row, note=None, author=None, now=now)
            await store.change(tx, CHATBOT, {"published_version": version, "status": "active"})
        known = (await store.origins_of(tx, [CHATBOT]))[CHATBOT]
        if not set(allowed) <= set(known):
            await store.set_origins(tx, CHATBOT, [*known, *allowed])
        await tx.commit()
    return CHATBOT


def _row(now: int) -> dict[str, object]:
    return {
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
        "settings": SETTINGS,
        "published_version": None,
        "created_by": None,
        "created_at": now,
        "updated_at": now,
    }
