"""A request's claim is part of its change: whatever breaks, and however many servers there are, there is one effect."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from api._kit.errors import ApiError, Conflict, Forbidden, IdempotencyConflict, Unavailable
from api._kit.idempotency import UNFINISHED, Answer, Replays, Ticket
from api._kit.store import PLATFORM, Database, Write
from api._kit.store.claims import idempotency_keys
from api.users.store import organizations
from server.infra.clock import Ids
from server.infra.crypto import AesVault
from tests.contract.house import HandClock

TICKET = Ticket("org:1", "POST", "/api/v1/chatbots", "k1", "body")
DONE = Answer(201, {}, b"done")
Make = Callable[[], Awaitable[Answer]]


class Power(BaseException):
    """The process ends here."""


def refuse(error: ApiError) -> Answer:
    return Answer(error.status, {}, error.code.encode())


def replays(database: Database, clock: HandClock | None = None, key: bytes = b"k" * 32) -> Replays:
    return Replays(database, AesVault([key]), clock=clock or HandClock())


def effect(database: Database, *, shared: bool, then: BaseException | None = None) -> Make:
    """Makes one organisation each time it is done, in a transaction of its own or in a shared one."""
    row = {"name": "One", "tier": "starter", "created_at": 1}

    async def make() -> Answer:
        id = Ids().new("org")
        if shared:

            def work(write: Write) -> None:
                write.run(organizations.insert().values(id=id, **row))

            await database.write(PLATFORM, work)
        else:
            async with database.uow(PLATFORM) as tx:
                await tx.run(organizations.insert().values(id=id, **row))
                await tx.commit()
        if then is not None:
            raise then
        return DONE

    return make


async def effects(database: Database) -> int:
    async with database.view(PLATFORM) as tx:
        return len(await tx.all(organizations.select()))


@pytest.mark.parametrize("shared", [False, True])
async def test_servers_that_do_the_same_request_at_once_have_one_effect(database: Database, shared: bool) -> None:
    nodes = [replays(database) for _ in range(6)]
    answers = await asyncio.gather(
        *(node.once(TICKET, effect(database, shared=shared), refuse) for node in nodes for _ in range(3))
    )
    assert {(a.status, a.body) for a in answers} == {(201, b"done")}
    assert [a.replayed for a in answers].count(False) == 1
    assert await effects(database) == 1


@pytest.mark.parametrize("shared", [False, True])
async def test_a_crash_between_the_effect_and_the_answer_does_not_double_it(database: Database, shared: bool) -> None:
    clock = HandClock()
    with pytest.raises(Power):
        await replays(database).once(TICKET, effect(database, shared=shared, then=Power()), refuse)
    with pytest.raises(Unavailable, match="still being answered"):
        await replays(database, clock).once(TICKET, effect(database, shared=shared), refuse)
    clock.seconds += UNFINISHED
    with pytest.raises(IdempotencyConflict, match="answer was lost"):
        await replays(database, clock).once(TICKET, effect(database, shared=shared), refuse)
    assert await effects(database) == 1


async def test_a_crash_before_the_effect_leaves_the_key_free(database: Database) -> None:
    async def make() -> Answer:
        raise Power

    with pytest.raises(Power):
        await replays(database).once(TICKET, make, refuse)
    assert await replays(database).once(TICKET, effect(database, shared=False), refuse) == DONE


@pytest.mark.parametrize(
    ("failure", "replayed"),
    [
        (RuntimeError("a bug"), b"INTERNAL_ERROR"),
        (Unavailable(), b"SERVICE_UNAVAILABLE"),
        (Conflict(), b"STATE_CONFLICT"),
    ],
)
async def test_a_failure_after_the_effect_is_what_is_replayed(
    database: Database, failure: Exception, replayed: bytes
) -> None:
    node, make = replays(database), effect(database, shared=False, then=failure)
    for _ in range(2):
        try:
            answer = await node.once(TICKET, make, refuse)
        except RuntimeError:
            continue
        assert answer.body == replayed
    assert await effects(database) == 1


async def test_a_failure_before_any_effect_is_tried_again(database: Database) -> None:
    async def make() -> Answer:
        raise Unavailable

    node = replays(database)
    with pytest.raises(Unavailable):
        await node.once(TICKET, make, refuse)
    assert await node.once(TICKET, effect(database, shared=False), refuse) == DONE


async def test_a_refusal_of_who_asks_frees_the_key_whatever_was_written_down(database: Database) -> None:
    node = replays(database)
    with pytest.raises(Forbidden):
        await node.once(TICKET, effect(database, shared=False, then=Forbidden()), refuse)
    assert await node.once(TICKET, effect(database, shared=True), refuse) == DONE


async def test_an_answer_does_not_open_for_another_request(database: Database) -> None:
    other, node = replace(TICKET, key="k2"), replays(database)
    await node.once(TICKET, effect(database, shared=False), refuse)
    await database.write(PLATFORM, lambda tx: tx.run(update(idempotency_keys).values(id=other.id)))
    with pytest.raises(IdempotencyConflict, match="answer was lost"):
        await node.once(other, effect(database, shared=False), refuse)


async def test_an_answer_sealed_with_a_forgotten_key_is_lost_and_not_made_again(database: Database) -> None:
    await replays(database).once(TICKET, effect(database, shared=False), refuse)
    with pytest.raises(IdempotencyConflict):
        await replays(database, key=b"n" * 32).once(TICKET, effect(database, shared=False), refuse)
    assert await effects(database) == 1
