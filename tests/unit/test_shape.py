"""Which rows a process serves: what is refused, in which words, and what each form needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.serving import ROOT
from server.gateway import SERVICES
from server.settings import Settings
from server.shape import TALKING, WrongShape, shape

SHARED = {"database_url": "postgresql+asyncpg://postgres@127.0.0.1/test", "redis_url": "redis://127.0.0.1:6379/0"}


def settings(**more: object) -> Settings:
    return Settings.model_validate({**SHARED, **more})


def test_one_process_serves_everything() -> None:
    form = shape(Settings())
    assert (form.services, form.elsewhere, form.talks, form.port(Settings())) == (SERVICES, {}, True, 8000)


def test_a_row_alone_is_on_the_port_of_the_catalogue_and_has_no_models() -> None:
    form = shape(settings(), ["auth"])
    assert ([service.name for service in form.services], form.port(settings()), form.talks) == (["auth"], 8001, False)


def test_a_row_alone_believes_the_gateway_about_its_clients() -> None:
    assert shape(settings(), ["auth"]).trusted_proxies(settings()) == 1
    assert shape(settings()).trusted_proxies(settings()) == 0


@pytest.mark.parametrize("row", ["chat-3d", "chat-text", "chat-voice", "selection"])
def test_rows_that_speak_have_the_models(row: str) -> None:
    assert shape(settings(), ["auth", row]).talks


def test_every_service_that_asks_the_models_is_known_to() -> None:
    asking = set()
    for service in SERVICES:
        code = "".join(
            Path(sys.modules[module].__file__ or "").read_text()
            for module in {endpoint.call.__module__ for endpoint in service.endpoints} - {"api._kit.endpoint"}
        )
        if any(word in code for word in ("deps.engine", "deps.models", "choices.samples", "Models(")):
            asking.add(service.name)
    assert asking <= TALKING


def test_the_settings_say_where_rows_are() -> None:
    form = shape(settings(services={"chat_3d": "http://a:8011, http://b:8011/,http://a:8011", "auth": ""}))
    assert form.elsewhere == {"chat-3d": ["http://a:8011", "http://b:8011"]}
    assert not form.alone


def test_a_variable_of_the_environment_says_where_a_row_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MA_SERVICES__CHAT_3D", "http://a:8011")
    assert Settings().services == {"chat_3d": "http://a:8011"}


@pytest.mark.parametrize("url", ["a:8001", "ftp://a", "http://a/path", "http://", "http://a:port", "http://u:p@a"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(WrongShape, match="MA_SERVICES__AUTH"):
        shape(settings(services={"auth": url}))


def test_a_row_that_is_none_is_refused_with_those_there_are() -> None:
    for unknown in (lambda: shape(settings(), ["aut"]), lambda: shape(settings(services={"aut": "http://a"}))):
        with pytest.raises(WrongShape, match=r"no row aut\. There are: auth, users"):
            unknown()


def test_a_row_that_lives_in_the_gateways_memory_stays_there() -> None:
    for only, services in ((["state-3d"], {}), ([], {"state_3d": "http://a:1"})):
        with pytest.raises(WrongShape, match="the gateway itself"):
            shape(settings(services=services), only)


@pytest.mark.parametrize(("missing", "mend"), [("database_url", "MA_DATABASE_URL"), ("redis_url", "MA_REDIS_URL")])
def test_what_rows_share_has_to_be_there(missing: str, mend: str) -> None:
    for form in ({"services": {"auth": "http://a:1"}}, {}):
        with pytest.raises(WrongShape, match=f"Set {mend}="):
            shape(settings(**{missing: ""}, **form), [] if form else ["auth"])


def test_the_command_says_what_is_missing_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "MA_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "server", "serve", "--only", "auth"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "MA_DATABASE_URL=postgresql" in ended.stderr
