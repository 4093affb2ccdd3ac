"""The doctor: each trouble is made for real, is seen, and is answered with words that help."""

import asyncio
import hashlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis
from sqlalchemy import create_engine, event, text

from pipelines.models.store import ModelStore
from pipelines.registry import ProviderSettings
from server.__main__ import main
from server.doctor import depot, place, trials
from server.doctor.findings import Check, Finding, document, examine, healthy, line, ok
from server.gateway import Files
from server.infra import db
from server.infra.clock import SystemClock
from server.infra.secrets import FILE
from server.settings import Settings, unknown_variables
from tests.contract.house import copy_of


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(data_dir=folder, **more)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def test_an_old_python_is_told_what_to_install() -> None:
    found = only(place.machine((3, 9, 1)))
    assert (found.state, "3.11" in found.mend) == ("failed", True)
    assert only(place.machine()).state == "ok"


def test_a_mistyped_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MA_TTS_VOICE", "joe")
    monkeypatch.setenv("MA_LLM__MODEL", "x")
    monkeypatch.setenv("MA_TEST_ANYTHING", "x")
    assert unknown_variables() == ["MA_TTS_VOICE"]
    found = only(place.names(unknown_variables()))
    assert (found.state, "MA_TTS_VOICE" in found.seen, "two underscores" in found.mend) == ("warning", True, True)


def test_a_key_that_others_can_read_is_closed_with_chmod(tmp_path: Path) -> None:
    key = tmp_path / FILE
    assert only(place.secrets(settings(tmp_path))).state == "ok"
    key.write_text("k" * 40)
    key.chmod(0o644)
    assert only(place.secrets(settings(tmp_path))) == Finding(
        "secret key", "failed", f"{key} can be read by others (mode 0644)", f"chmod 600 {key}"
    )
    key.chmod(0o600)
    assert only(place.secrets(settings(tmp_path))).state == "ok"
    key.write_text("short")
    assert "does not hold a key" in only(place.secrets(settings(tmp_path))).seen


@pytest.mark.parametrize("key", ["short", ""])
def test_a_shared_database_needs_a_long_key(tmp_path: Path, key: str) -> None:
    here = settings(tmp_path, secret_key=key, database_url="postgresql+asyncpg://localhost/x")
    found = only(place.secrets(here))
    assert (found.state, "MA_SECRET_KEY" in found.seen, "openssl rand" in found.mend) == ("failed", True, True)


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    for folder in (in_the_way, Path("/sys/machineavatars") if sys.platform == "linux" else in_the_way):
        found = only(place.data_directory(settings(folder)))
        assert (found.state, f"{folder} cannot be written" in found.seen) == ("failed", True)
        assert "MA_DATA_DIR" in found.mend


def test_a_data_directory_is_left_as_it_was(tmp_path: Path) -> None:
    assert only(place.data_directory(settings(tmp_path))).state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_fails_and_a_filling_one_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "DISK_WISHED", 10**18)
    found = only(place.data_directory(settings(tmp_path)))
    assert (found.state, found.mend.startswith("make room: du ")) == ("warning", True)
    monkeypatch.setattr(place, "DISK_NEEDED", 10**18)
    assert only(place.data_directory(settings(tmp_path))).state == "failed"


@contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def test_a_taken_port_says_who_holds_it_and_names_a_free_one(tmp_path: Path) -> None:
    with listening() as number:
        found = only(await place.port(settings(tmp_path, port=number)))
    assert (found.state, "MA_PORT=" in found.mend) == ("failed", True)
    if sys.platform == "linux":
        assert f"process {os.getpid()}" in found.seen
    assert only(await place.port(settings(tmp_path, port=number))).state == "ok"


async def test_a_port_that_this_server_holds_is_as_it_should_be(tmp_path: Path) -> None:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "services": {}, "uptime_s": 1})

    app = web.Application()
    app.router.add_get("/health", health)
    async with TestServer(app, host="127.0.0.1") as server:
        found = only(await place.port(settings(tmp_path, port=server.port)))
    assert (found.state, "running already" in found.seen) == ("ok", True)


async def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    found = only(await place.port(settings(tmp_path, host="192.0.2.1", port=18_000)))
    assert (found.state, "MA_HOST" in found.mend) == ("failed", True)


def test_what_is_not_built_says_the_command(tmp_path: Path) -> None:
    found = place.built(Files(widget=tmp_path, avatars=tmp_path))
    assert [(f.name, f.state, f.mend) for f in found] == [
        ("widget", "failed", "make widget"),
        ("avatars", "failed", "make avatars"),
    ]
    for avatar in ("avatar_female_01", "avatar_male_01"):
        (tmp_path / f"{avatar}.glb").touch()
    assert named(place.built(Files(widget=tmp_path, avatars=tmp_path)), "avatars").state == "ok"


@pytest.fixture
def template(templates: dict[str, str], tmp_path: Path) -> str:
    """A migrated SQLite database."""
    return copy_of(Path(templates["sqlite"]), tmp_path)


async def test_a_database_that_is_well_is_said_to_be_so(template: str) -> None:
    assert [finding.state for finding in await depot.database(template)] == ["ok", "ok", "ok"]


async def test_a_database_that_is_not_made_yet_is_no_trouble(tmp_path: Path) -> None:
    found = only(await depot.database(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"))
    assert (found.state, (tmp_path / "new.db").exists()) == ("ok", False)


async def test_a_stale_schema_says_the_command(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}"
    await db.migrate(url, "0001")
    found = named(await depot.database(url), "schema")
    assert (found.state, "machineavatars migrate" in found.mend) == ("failed", True)
    await db.migrate(url)
    assert named(await depot.database(url), "schema").state == "ok"


async def test_a_schema_from_the_future_wants_a_newer_program(template: str) -> None:
    engine = create_engine(template.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    found = named(await depot.database(template), "schema")
    assert (found.state, "newer" in found.seen, "git pull" in found.mend) == ("failed", True, True)


async def test_a_commit_that_may_be_lost_is_a_failure(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = db._direct

    def careless(url: Any) -> Any:
        engine = made(url)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
        return engine

    monkeypatch.setattr(db, "_direct", careless)
    found = named(await depot.database(template), "durability")
    assert (found.state, "PRAGMA synchronous is 1" in found.seen) == ("failed", True)


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"not a database at all" * 100)
    found = only(await depot.database(f"sqlite+aiosqlite:///{path}"))
    assert (found.state, "not a database" in found.seen, "backup" in found.mend) == ("failed", True, True)


async def test_a_database_server_that_is_away_is_named_without_its_password() -> None:
    with listening() as number:
        pass
    found = only(await depot.database(f"postgresql+asyncpg://ada:hidden@127.0.0.1:{number}/x"))
    assert (found.state, "does not answer" in found.seen, "hidden" in line(found)) == ("failed", True, False)
    assert "pg_isready" in found.mend


async def test_an_address_that_is_none_is_no_crash() -> None:
    assert only(await depot.database("nonsense")).state == "failed"


async def test_a_cluster_of_redis_is_no_place_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def info(self: Redis, section: str) -> dict[str, str]:
        return {"redis_version": "7.2.0", "redis_mode": "cluster"}

    monkeypatch.setattr(Redis, "info", info)
    assert "it is a cluster" in only(await depot.redis("redis://127.0.0.1:6379/0")).seen


async def test_a_redis_that_is_away_is_named_without_its_password() -> None:
    with listening() as number:
        pass
    found = only(await depot.redis(f"redis://:hidden@127.0.0.1:{number}/0"))
    assert (found.state, "hidden" in line(found), "MA_REDIS_URL" in found.mend) == ("failed", False, True)


MODELS = ("ear", "mouth", "mind")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Three models of the right kinds whose bytes are as the manifest says, and nothing that an engine can load."""
    source, root = tmp_path / "source", tmp_path / "models"
    source.mkdir()
    root.mkdir()
    (source / "model.onnx").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    tables = [
        f'[{name}]\nsource = "file"\npackages = ["{source}"]\nlicence = "MIT"\npurpose = "test"\nmain = "model.onnx"\n'
        f'engine = "{engine}"\nlanguages = ["en"]\nfiles = {{ "model.onnx" = "{digest}" }}\n'
        for name, engine in zip(MODELS, ("whisper", "piper", "llama"), strict=True)
    ]
    voice = '[mouth.voices]\njane = { name = "Jane", language = "en-US", gender = "female" }\n'
    (root / "manifest.toml").write_text("".join(tables) + voice)
    made = ModelStore(root)
    made.pull(MODELS)
    return made


WANTED = ProviderSettings(stt_model="ear", voice="jane", llm_model="mind")


async def test_models_that_are_here_and_sound_are_said_to_be_so(store: ModelStore) -> None:
    found = {f.name: f.state for f in await depot.models(lambda: store, WANTED)}
    assert [found[f"model {name}"] for name in MODELS] == ["ok"] * 3
    assert found["other models"] == "warning"


async def test_a_missing_model_says_the_command(store: ModelStore) -> None:
    (store.root / "ear" / "model.onnx").unlink()
    found = named(await depot.models(lambda: store, WANTED), "model ear")
    assert (found.state, found.mend) == ("failed", "machineavatars models pull ear")


async def test_a_damaged_model_is_seen_by_its_bytes(store: ModelStore) -> None:
    (store.root / "mind" / "model.onnx").write_bytes(b"wrights")
    found = named(await depot.models(lambda: store, WANTED), "model mind")
    assert (found.state, "damaged" in found.seen) == ("failed", True)


async def test_a_model_that_nobody_knows_lists_the_known(store: ModelStore) -> None:
    found = only(await depot.models(lambda: store, replace(WANTED, voice="nobody")))
    assert (found.state, "jane" in found.seen, "MA_TTS__VOICE" in found.mend) == ("failed", True, True)


async def test_a_broken_manifest_is_named(store: ModelStore) -> None:
    (store.root / "manifest.toml").write_text("[")
    found = only(await depot.models(lambda: ModelStore(store.root), WANTED))
    assert (found.state, "manifest.toml" in found.seen) == ("failed", True)


async def test_a_process_that_cannot_load_its_model_is_a_failure_with_its_reason(store: ModelStore) -> None:
    found = await trials.workers(lambda: store, WANTED, SystemClock())
    broken = {f.name: f for f in found if f.state == "failed"}
    assert {"process speech_to_text", "process text_to_speech"} <= broken.keys()
    assert all("does not start" in f.seen and "models verify" in f.mend for f in broken.values())


async def test_without_a_model_no_process_is_tried(store: ModelStore) -> None:
    (store.root / "mouth" / "model.onnx").unlink()
    found = only(await trials.workers(lambda: store, WANTED, SystemClock()))
    assert (found.state, "models pull mouth" in found.seen) == ("failed", True)


@pytest.fixture
async def llm() -> AsyncIterator[TestServer]:
    async def complete(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] != "Bearer right":
            return web.json_response({"error": {"message": "no"}}, status=401)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
        choice = {"index": 0, "delta": {"content": "Yes"}, "finish_reason": None}
        await response.write(f"data: {json.dumps(piece | {'choices': [choice]})}\n\ndata: [DONE]\n\n".encode())
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    async with TestServer(app, host="127.0.0.1") as server:
        yield server


@pytest.mark.parametrize(("key", "state"), [("right", "ok"), ("wrong", "failed")])
async def test_an_endpoint_is_asked_for_one_token(store: ModelStore, llm: TestServer, key: str, state: str) -> None:
    remote = ProviderSettings(llm_base_url=str(llm.make_url("/v1")), llm_model="m", llm_api_key=key)
    found = only(await trials.endpoint(lambda: store, remote, SystemClock()))
    assert found.state == state
    if state == "failed":
        assert "MA_LLM__API_KEY" in found.mend


async def test_a_check_that_breaks_or_hangs_is_its_own_failure_and_no_other_s() -> None:
    async def breaks() -> list[Finding]:
        raise RuntimeError("what a mess")

    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def works() -> list[Finding]:
        return [ok("works", "well")]

    checks = [Check("breaks", breaks), Check("hangs", hangs, 0.01), Check("works", works)]
    found = [finding async for finding in examine(checks)]
    assert [(f.name, f.state) for f in found] == [("breaks", "failed"), ("hangs", "failed"), ("works", "ok")]
    assert ("what a mess" in found[0].seen, "no answer within" in found[1].seen) == (True, True)


def test_only_a_failure_makes_it_unwell() -> None:
    fine, doubtful = ok("a", "b"), Finding("c", "warning", "d", "e")
    assert healthy([fine, doubtful])
    assert not healthy([fine, replace(doubtful, state="failed")])
    assert json.loads(document([doubtful])) == {
        "ok": True,
        "findings": [{"name": "c", "state": "warning", "seen": "d", "mend": "e"}],
    }


def test_a_wrong_setting_is_a_finding_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MA_PORT", "many")
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], "MA_PORT" in found["findings"][0]["seen"]) == (False, True)


def test_a_new_data_directory_fails_for_want_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MA_DATA_DIR", str(tmp_path))
    assert main(["doctor", "--quick"]) == 1
    said = capsys.readouterr().out
    assert "-> machineavatars models pull whisper-tiny.en" in said
    assert "Something needs mending." in said


async def test_a_postgresql_that_does_not_wait_for_its_disk_is_a_failure(templates: dict[str, str]) -> None:
    if "postgresql" not in templates:
        pytest.skip("no PostgreSQL")
    url = templates["postgresql"]
    name = url.rpartition("/")[2]
    engine = db.engine(url)
    try:
        for value, state in (("off", "failed"), ("on", "ok")):
            async with engine.begin() as connection:
                await connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = {value}'))
            found = named(await depot.database(url), "durability")
            assert (found.state, f"synchronous_commit is {value}" in found.seen) == (state, value == "off")
    finally:
        await engine.dispose()


async def test_a_redis_that_answers_says_its_version() -> None:
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=1).close()
    except OSError:
        pytest.skip("no Redis at 127.0.0.1:6379")
    found = only(await depot.redis("redis://127.0.0.1:6379/0"))
    assert (found.state, "version" in found.seen) == ("ok", True)


@pytest.mark.models
async def test_the_real_processes_pass_their_trials() -> None:
    models = Path(__file__).parents[2] / "var" / "models"
    found = await trials.workers(lambda: ModelStore(models), ProviderSettings(), SystemClock())
    assert {f.state for f in found} == {"ok"}, found
    assert {"voice", "voice activity", "recogniser", "language model"} <= {f.name for f in found}
