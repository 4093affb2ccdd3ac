"""Stored secrets open with the right key, in the right place, and unharmed."""

import pytest

from api._kit.ports import CannotOpen
from server.infra.crypto import AesVault

OLD, NEW = b"o" * 32, b"n" * 32


def test_what_was_sealed_opens_again_and_cannot_be_read_meanwhile() -> None:
    sealed = AesVault([NEW]).seal("sk-secret äöü".encode(), "llm.key:org_1")
    assert "secret" not in sealed
    assert AesVault([NEW]).open(sealed, "llm.key:org_1") == "sk-secret äöü".encode()


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    vault = AesVault([NEW])
    assert vault.seal(b"secret", "a") != vault.seal(b"secret", "a")


def test_while_one_key_replaces_the_other_both_open_and_the_new_one_seals() -> None:
    sealed = AesVault([OLD]).seal(b"secret", "a")
    both = AesVault([NEW, OLD])
    assert both.open(sealed, "a") == b"secret"
    assert AesVault([NEW]).open(both.seal(b"secret", "a"), "a") == b"secret"


def test_a_secret_does_not_open_with_another_key() -> None:
    with pytest.raises(CannotOpen):
        AesVault([NEW]).open(AesVault([OLD]).seal(b"secret", "a"), "a")


def test_a_secret_does_not_open_in_another_place() -> None:
    vault = AesVault([NEW])
    with pytest.raises(CannotOpen):
        vault.open(vault.seal(b"secret", "llm.key:org_1"), "llm.key:org_2")


@pytest.mark.parametrize("sealed", ["", "v1", "v1..", "v2.a.b", "v1.\u00e9.b", "x" * 200, "a.b.c.d"])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(CannotOpen):
        AesVault([NEW]).open(sealed, "a")


def test_a_changed_letter_is_noticed() -> None:
    vault = AesVault([NEW])
    sealed = vault.seal(b"secret", "a")
    changed = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    with pytest.raises(CannotOpen):
        vault.open(changed, "a")
