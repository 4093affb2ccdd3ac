"""Small parts of the kit: origins, passwords, keys, signed files, turnstiles, the choice of a voice."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from api._kit.choices import Choices
from api._kit.errors import InvalidFormat, Unavailable
from api._kit.idempotency import Turnstile
from api._kit.origins import admits, normal
from api._kit.passwords import check_strength
from pipelines.providers.base import Voice
from pipelines.registry import Voices
from server.infra.hashing import Argon2Passwords
from server.infra.media import LIFETIME, MediaFolder
from server.infra.secrets import FILE, NoSecretKey, keyring
from tests.contract.house import HandClock


@pytest.mark.parametrize(
    ("given", "normalised"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given: str, normalised: str) -> None:
    assert normal(given) == normalised


@pytest.mark.parametrize(
    "given", ["", "null", "shop.example", "ftp://shop.example", "https://", "https://a.b/path", "https://u@a.b", "*"]
)
def test_what_is_not_an_origin_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"origin|label|port"):
        normal(given)


def test_a_bot_without_origins_admits_nobody() -> None:
    assert not admits((), "https://shop.example")


def test_a_request_without_an_origin_must_be_from_the_same_one() -> None:
    assert not admits(("https://shop.example",), None)
    assert admits((), None, same_origin=True)


def test_an_origin_must_match_whole() -> None:
    assert not admits(("https://shop.example",), "https://shop.example.evil")


@pytest.mark.parametrize("password", ["password123", "Password123", "1234567890", "aaaaaaaaaaaa"])
def test_a_password_that_everyone_tries_is_refused(password: str) -> None:
    with pytest.raises(InvalidFormat):
        check_strength(password, "password")


def test_a_long_sentence_is_a_good_password() -> None:
    check_strength("a long sentence of mine", "password")


async def test_argon2_runs_with_the_recommended_cost() -> None:
    passwords = Argon2Passwords()
    hashed = await passwords.hash("a" * 64 + "ü")
    passwords.close()
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_long_and_foreign_passwords_are_verified_whole() -> None:
    passwords = Argon2Passwords(memory_kib=64, time_cost=1)
    hashed = await passwords.hash("ü" * 64 + "a")
    assert await passwords.verify(hashed, "ü" * 64 + "a")
    assert not await passwords.verify(hashed, "ü" * 64 + "b")
    passwords.close()


async def test_an_unknown_person_never_matches() -> None:
    passwords = Argon2Passwords(memory_kib=64, time_cost=1)
    assert not await passwords.verify(None, "nobody has this password")
    passwords.close()


async def test_a_weaker_hash_is_outdated() -> None:
    weak, strong = Argon2Passwords(memory_kib=64, time_cost=1), Argon2Passwords(memory_kib=128, time_cost=1)
    assert strong.outdated(await weak.hash("a long sentence of mine"))
    weak.close()
    strong.close()


async def test_a_full_password_queue_refuses_at_once() -> None:
    passwords = Argon2Passwords(memory_kib=64, time_cost=1, waiting=1)
    answers = await asyncio.gather(*(passwords.hash("a") for _ in range(3)), return_exceptions=True)
    passwords.close()
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 2


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = keyring("", data_dir=tmp_path, local=True).derive("tokens")
    assert keyring("", data_dir=tmp_path, local=True).derive("tokens") == first
    assert stat.S_IMODE(os.stat(tmp_path / FILE).st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_shared_database_needs_a_given_key(tmp_path: Path) -> None:
    with pytest.raises(NoSecretKey, match="MA_SECRET_KEY"):
        keyring("", data_dir=tmp_path, local=False)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSecretKey):
        keyring("short", data_dir=tmp_path, local=True)


def test_each_purpose_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = keyring(f"{'a' * 32},{'b' * 32}", data_dir=tmp_path, local=False)
    assert len({*keys.derive("tokens"), *keys.derive("media")}) == 4


async def test_a_link_opens_its_file_until_it_expires(tmp_path: Path) -> None:
    clock = HandClock()
    media = MediaFolder(tmp_path, [b"k"], clock=clock)
    media_id = await media.save(b"sound", "mp3")
    signature = media.url(media_id).partition("?sig=")[2]
    found = await media.open(media_id, signature)
    assert found is not None
    assert (found.path.read_bytes(), found.content_type) == (b"sound", "audio/mpeg")
    await clock.sleep(LIFETIME + 1)
    assert await media.open(media_id, signature) is None


@pytest.mark.parametrize("signature", ["", "x", "9999999999.0", "99999999999999999999.a", "9999999999.ü"])
async def test_a_link_with_another_signature_opens_nothing(tmp_path: Path, signature: str) -> None:
    media = MediaFolder(tmp_path, [b"k"], clock=HandClock())
    media_id = await media.save(b"sound", "mp3")
    assert await media.open(media_id, signature) is None


async def test_a_key_that_is_being_replaced_still_opens_its_links(tmp_path: Path) -> None:
    clock = HandClock()
    before = MediaFolder(tmp_path, [b"old"], clock=clock)
    media_id = await before.save(b"sound", "wav")
    signature = before.url(media_id).partition("?sig=")[2]
    assert await MediaFolder(tmp_path, [b"new", b"old"], clock=clock).open(media_id, signature)


async def test_old_files_are_swept_away(tmp_path: Path) -> None:
    clock = HandClock()
    media = MediaFolder(tmp_path, [b"k"], clock=clock)
    first = await media.save(b"sound", "mp3")
    os.utime(tmp_path / first, (clock.now(), clock.now()))
    await clock.sleep(3 * LIFETIME)
    second = await media.save(b"sound", "mp3")
    assert [path.name for path in tmp_path.iterdir()] == [second]


async def test_one_at_a_time_passes_a_turnstile_for_each_key() -> None:
    turnstile, inside, most = Turnstile(), 0, 0

    async def pass_through(key: str) -> None:
        nonlocal inside, most
        async with turnstile.alone(key):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(pass_through("a") for _ in range(5)))
    assert most == 1
    await asyncio.gather(*(pass_through(key) for key in "abc"))
    assert most == 3


def test_the_avatar_of_a_bot_that_names_no_voice_decides_it() -> None:
    joe = Voice("joe", "Joe", "en-US", "male", "piper", "fast", "CC0")
    amy = Voice("amy", "Amy", "en-US", "female", "piper", "fast", "CC0")
    choices = Choices(frozenset({"ava"}), Voices([joe, amy], "joe"), {"ava": "amy"})
    assert [choices.voice_for("en-US", avatar) for avatar in ("ava", None)] == ["amy", "joe"]
    assert choices.voice_for("en-US", "ava", wanted="joe") == "joe"
