"""Requests that Schemathesis makes up from the OpenAPI document, and every check that it has of the answers.

`make schemathesis` runs 25 examples an operation; here are a few, with the same dice every time.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import STDOUT
from pathlib import Path

import aiohttp
import jwt
from sqlalchemy import update

from api._kit.auth import Tokens
from api._kit.store import PLATFORM
from api.users.store import organizations
from server.infra.clock import Ids, SystemClock
from server.infra.db import connect
from server.infra.secrets import keyring
from server.settings import Settings
from tests.support.live import Live, live

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "")
"""How many examples an operation has in each phase. Without it, a short run."""
SESSIONS = 2000
PERSON = {"email": "fuzz@example.com", "password": "a long sentence of mine"}


async def test_no_request_that_can_be_made_up_breaks_the_contract(tmp_path: Path) -> None:
    """Positive and negative data, boundary values, missing headers, other methods, no authentication."""
    async with live(tmp_path, log_level="error") as server:
        facts = tmp_path / "facts.json"
        facts.write_text(json.dumps(await _furnished(server, tmp_path)))
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.contract.fuzzing_hooks",
            "SCHEMATHESIS_FACTS": str(facts),
            "PYTHONPATH": str(ROOT),
        }
        short = ("--phases=fuzzing", "--max-examples=3", "--seed=1", "--no-shrink")
        full = ("--phases=examples,coverage,fuzzing", f"--max-examples={EXAMPLES}")
        output = tmp_path / "schemathesis.log"
        with output.open("wb") as log:
            run = await asyncio.create_subprocess_exec(
                *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run"),
                *(f"{server.url}/openapi.json?version=3.1", "--url", server.url),
                *("--checks=all", "--warnings=off", "--no-color", "--continue-on-failure"),
                *("--request-timeout=30", "--output-truncate=false"),
                *(full if EXAMPLES else short),
                cwd=tmp_path, env=environment, stdout=log, stderr=STDOUT,
            )  # fmt: skip
            try:
                async with asyncio.timeout(1800 if EXAMPLES else 170):
                    await run.wait()
            finally:
                if run.returncode is None:
                    run.kill()
                    await run.wait()
    report = output.read_text()
    if EXAMPLES:
        print(report)
    assert run.returncode == 0, report


async def _furnished(server: Live, data: Path) -> dict[str, object]:
    """An organisation without limits that has one of everything."""
    async with aiohttp.ClientSession(server.url) as http:

        async def made(path: str, body: dict[str, object]) -> dict[str, str]:
            async with http.post(path, json=body) as answer:
                assert answer.status in (200, 201), await answer.text()
                return dict(await answer.json())

        who = await made("/api/v1/auth/register", {**PERSON, "name": "Ada", "accept_terms": True})
        await _unlimited(data)
        grant = await made("/api/v1/auth/login", PERSON)
        http.headers["Authorization"] = f"Bearer {grant['access_token']}"
        bot = await made("/api/v1/chatbots/create", {"name": "Support Bot", "type": "3d"})
        said = await made("/api/v1/chat-3d/respond", {"chatbot_id": bot["id"], "message": "Hello"})
    ids = {
        "chatbot_id": bot["id"],
        "conversation_id": said["conversation_id"],
        "message_id": said["message_id"],
        "user_id": who["user_id"],
    }
    return {"token": grant["access_token"], "sessions": _sessions(data, grant["access_token"]), "ids": ids}


def _sessions(data: Path, token: str) -> list[str]:
    """Tokens of as many logins of one person as a run may end."""
    claims = jwt.decode(token, options={"verify_signature": False})
    settings = Settings.model_validate({"data_dir": data})
    keys = keyring(settings.secret_key.get_secret_value(), data_dir=data, local=True)
    clock, ids = SystemClock(), Ids()
    tokens = Tokens(keys.derive("tokens"), clock=clock, ids=ids, revocations=None)  # type: ignore[arg-type]
    return [tokens.account(claims["sub"], claims["org"], "owner", version=0)[0] for _ in range(SESSIONS)]


async def _unlimited(data: Path) -> None:
    """All organisations have a tier without limits."""
    database = connect(Settings.model_validate({"data_dir": data}).database)
    try:
        async with database.uow(PLATFORM) as tx:
            await tx.run(update(organizations).values(tier="enterprise"))
            await tx.commit()
    finally:
        await database.close()
